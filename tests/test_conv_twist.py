"""ConvTwist2d as a module: it takes nn.Conv2d's place, argument by argument, and refuses what it cannot do."""

import copy
import inspect
import typing
import warnings

import numpy as np
import pytest
import torch
from scorecard import record
from torch import nn

import convtwist
from convtwist import ConvTwist2d, IsoTwist2d, convert
from convtwist.channels import permutation, reorder
from convtwist.functional import conv_twist2d

torch.set_num_threads(1)

CONV_ARGUMENTS = [
    (4, 6, 3), (4, 6, (3, 3)), (4, 6, 3, 2, 1), (4, 6, 3, (2, 1), (0, 1), 2), (4, 6, 3, 1, 1, 1, 2, False),
    (4, 6, 3, 1, "same", (2, 1), 1, True, "reflect"), (4, 6, 3, 2, "valid"),
    (4, 6, 3, 1, 2, 1, 1, True, "circular"), (4, 6, 3, 1, (1, 2), 1, 1, False, "replicate"),
    (4, 6, 3, 1, 1, 1, 1, True, "zeros", "cpu", torch.float64),
]


@pytest.mark.parametrize("arguments", CONV_ARGUMENTS)
def test_takes_the_place_of_conv2d(arguments):
    """Same seed, same positional arguments: the same weights, and without the twist the same output."""
    torch.manual_seed(0)
    conv = nn.Conv2d(*arguments)
    torch.manual_seed(0)
    layer = ConvTwist2d(*arguments, twist_init="zeros")
    keys = layer.load_state_dict(conv.state_dict(), strict=False)
    assert keys.missing_keys == ["twist"] and not keys.unexpected_keys
    torch.manual_seed(0)
    fresh = ConvTwist2d(*arguments, twist_init="zeros")
    u = torch.randn(2, 4, 9, 8, dtype=conv.weight.dtype)
    for other in (layer, fresh):
        assert torch.equal(other(u), conv(u))
        assert torch.equal(other(u[0]), conv(u[0]))
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    for name in names:
        assert getattr(layer, name) == getattr(conv, name), name
    assert not isinstance(layer, nn.Conv2d)


def test_the_signature_begins_with_conv2ds():
    theirs = list(inspect.signature(nn.Conv2d.__init__).parameters.values())[1:]
    ours = list(inspect.signature(ConvTwist2d.__init__).parameters.values())[1:]
    assert [p.name for p in ours[: len(theirs)]] == [p.name for p in theirs]
    for mine, other in zip(ours, theirs, strict=False):
        assert mine.default == (3 if mine.name == "kernel_size" else other.default)
    assert all(p.kind is p.KEYWORD_ONLY for p in ours[len(theirs) :])
    assert [p.name for p in ours[len(theirs) :]] == ["operators", "twist_init", "centers", "coords", "steps",
                                                     "permute"]


def test_numpys_whole_numbers_are_whole_numbers():
    """As nn.Conv2d takes them, and stored as Python's; True and 2.0 are none."""
    four, two, one = np.int64(4), np.int32(2), np.uint8(1)
    layer = ConvTwist2d(four, four, np.int64(3), (one, two), padding=one, dilation=two, groups=two, permute="cycle")
    same = ConvTwist2d(4, 4, 3, (1, 2), 1, 2, 2, permute="cycle")
    assert repr(layer) == repr(same) == repr(copy.deepcopy(layer)) and layer.padding == (1, 1)
    for each in (layer, ConvTwist2d(four, four, padding=1, steps=two), IsoTwist2d(four, four, groups=two, reduce=two)):
        stored = [vars(each).get(name, 1) for name in ("in_channels", "out_channels", "groups", "steps", "reduce")]
        assert {type(value) for value in stored} == {int}
        assert each(torch.rand(1, 4, 8, 8)).isfinite().all()
    for wrong in (np.float64(2), np.bool_(True), np.int64(0), np.array([2, 2])):
        with pytest.raises(ValueError, match="groups must be a whole number from 1, got "):
            ConvTwist2d(4, 4, groups=wrong)
    model = nn.Sequential(nn.Conv2d(3, four, 3), nn.Conv2d(four, four, 3, stride=two, groups=two, bias=np.bool_(True)))
    assert all(isinstance(each, ConvTwist2d) for each in convert(model))


def test_hints_of_types_can_be_read():
    """Sphinx, pydantic and others look them up by name."""
    for name in convtwist.__all__:
        public = getattr(convtwist, name)
        assert not callable(public) or typing.get_type_hints(public.__init__ if isinstance(public, type) else public)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", [ConvTwist2d(4, 4), IsoTwist2d(4, 4)])
def test_scripting_is_refused_and_tracing_is_not(layer):
    with pytest.raises(NotImplementedError, match=rf"cannot compile a {type(layer).__name__}.* use torch\.export"):
        torch.jit.script(nn.Sequential(layer))
    u = torch.rand(1, 4, 8, 8)
    torch.testing.assert_close(torch.jit.trace(nn.Sequential(layer), u)(u), layer(u))


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_input_is_to_be_dequantised():
    u = torch.quantize_per_tensor(torch.rand(1, 4, 8, 8), 0.01, 0, torch.quint8)
    for layer in (ConvTwist2d(4, 4), IsoTwist2d(4, 4)):
        with pytest.raises(TypeError, match="put a DeQuantStub in front of this layer"):
            layer(u)


@pytest.mark.parametrize(("operators", "fields", "ratio"), [("similarity", 2, 11 / 9), ("affine", 4, 13 / 9),
                                                            ("first_order", 8, 17 / 9)])
def test_parameters_and_their_shapes(operators, fields, ratio):
    layer = ConvTwist2d(8, 12, groups=4, operators=operators, centers=True)
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    assert shapes == {"weight": (12, 2, 3, 3), "bias": (12,), "twist": (fields, 12, 2), "center": (2, 12)}
    assert list(layer.state_dict()) == ["weight", "twist", "bias", "center"]
    plain = ConvTwist2d(8, 12, bias=False, operators=operators)
    assert plain.bias is None and plain.center is None
    count = sum(p.numel() for p in plain.parameters())
    assert count / nn.Conv2d(8, 12, 3, bias=False).weight.numel() == pytest.approx(ratio)


@pytest.mark.parametrize("options", [
    {}, {"operators": "affine", "coords": "legacy"}, {"centers": True, "operators": "first_order"},
    {"steps": 3, "padding": 1}, {"groups": 4, "permute": "cycle", "padding_mode": "circular", "padding": 1},
    {"padding": "same", "dilation": 2, "steps": 2}, {"permute": [3, 1, 2, 0, 4, 5, 7, 6]},
    {"permute": torch.arange(7, -1, -1), "stride": 2},
])
def test_module_equals_function(options):
    layer = ConvTwist2d(8, 8, **options)
    u = torch.randn(2, 8, 7, 6)
    function_options = {k: v for k, v in options.items() if k not in ("operators", "centers")}
    expected = conv_twist2d(u, layer.weight, layer.twist, layer.bias, center=layer.center, **function_options)
    assert torch.equal(layer(u), expected)


@pytest.mark.parametrize(("kind", "groups"), [("cycle", 2), ("cycle", 8), ("4-cycle", 8), ("4-cycle", 4),
                                              ("shuffle", 2), ("shuffle", 4), ("cycle", 1), ("shuffle", 1)])
def test_permuting_by_rolls_is_permuting_by_index(kind, groups):
    u = torch.randn(2, 16, 3, 3)
    assert torch.equal(reorder(u, kind, groups), u[:, permutation(kind, 16, groups)])


def test_the_three_starts():
    torch.manual_seed(0)
    assert not ConvTwist2d(4, 4, twist_init="zeros").twist.any()
    # Version 2 draws with the weights' own spread, on Sobel without its 1/8.
    layer = ConvTwist2d(64, 64)
    assert layer.twist.std().item() == pytest.approx(8 * layer.weight.std().item(), rel=0.05)
    layer = ConvTwist2d(4, 512, centers=True)
    assert layer.center.abs().max() < 1.5 and layer.center.std().item() == pytest.approx(1.5 / 3**0.5, rel=0.1)


def test_every_bank_starts_with_the_same_variance_of_the_twist():
    torch.manual_seed(0)
    u = torch.randn(8, 32, 24, 24)
    spread = []
    for operators in ("similarity", "affine", "first_order"):
        layer = ConvTwist2d(32, 64, 3, padding=1, bias=False, operators=operators)
        nn.init.zeros_(layer.weight)
        spread.append(layer(u)[..., 1:-1, 1:-1].std().item())
    assert max(spread) / min(spread) < 1.1


def test_forward_changes_nothing():
    """The announcement's layer wrote into its weights whenever it was called."""
    layer = ConvTwist2d(4, 4, 3, padding=1, centers=True, operators="first_order", steps=2).eval()
    before = {k: v.clone() for k, v in layer.state_dict().items()}
    keys = set(vars(layer))
    for size in ((5, 5), (9, 4)):
        layer(torch.randn(1, 4, *size))
    assert all(torch.equal(before[k], v) for k, v in layer.state_dict().items())
    assert keys == set(vars(layer)) and not list(layer.buffers())


def test_repr_names_only_what_differs():
    assert repr(ConvTwist2d(2, 4)) == "ConvTwist2d(2, 4, kernel_size=(3, 3), stride=(1, 1))"
    text = repr(ConvTwist2d(4, 4, 3, 1, 1, 1, 4, False, "reflect", operators="affine", centers=True,
                            coords="legacy", steps=2, permute="cycle"))
    for part in ("bias=False", "groups=4", "padding_mode='reflect'", "operators='affine'", "centers=True",
                 "coords='legacy'", "steps=2", "permute='cycle'", "padding=(1, 1)"):
        assert part in text
    assert "dilation" not in text
    assert "permute=(...)" in repr(ConvTwist2d(4, 4, permute=[0, 1, 3, 2]))


@pytest.mark.parametrize(("options", "message"), [
    ({"kernel_size": 5}, "kernel_size must be 3, got 5.*nn.Conv2d"),
    ({"kernel_size": (3, 1)}, r"kernel_size must be 3, got \(3, 1\)"),
    ({"kernel_size": "3"}, "kernel_size must be one or two whole numbers"),
    ({"groups": 3}, "in_channels=4 must be divisible by groups=3"),
    ({"groups": 4, "out_channels": 6}, "out_channels=6 must be divisible by groups=4"),
    ({"groups": 0}, "groups must be a whole number from 1, got 0"),
    ({"in_channels": 0}, "in_channels must be"),
    ({"out_channels": 2.0}, "out_channels must be"),
    ({"stride": 0}, "stride must be"),
    ({"padding": (1, 2, 3)}, "padding must be"),
    ({"padding": "full"}, "padding must be one of 'same', 'valid', got 'full'"),
    ({"padding": "same", "stride": 2}, "padding='same' needs stride=1"),
    ({"dilation": 0}, "dilation must be"),
    ({"padding_mode": "mirror"}, "padding_mode must be one of 'zeros', 'reflect', 'replicate', 'circular'"),
    ({"operators": "both"}, "operators must be one of 'similarity', 'affine', 'first_order', got 'both'"),
    ({"twist_init": "zero"}, "twist_init must be one of 'normal', 'zeros'"),
    ({"coords": "pixels"}, "coords must be one of 'centered', 'legacy'"),
    ({"steps": 0}, "steps must be a whole number from 1"),
    ({"steps": True}, "steps must be a whole number from 1"),
    ({"steps": 2}, "padding='same'"),
    ({"steps": 2, "padding": 1, "stride": 2}, "stride=1"),
    ({"steps": 2, "padding": 1, "out_channels": 8}, "as many output as input channels, got 4 and 8"),
    ({"permute": "ring"}, "permute must be"),
    ({"permute": "4-cycle", "groups": 2}, "groups"),
    ({"permute": [0, 1, 2]}, "permute must"),
    ({"permute": [0, 1, 2, 2]}, "permute must"),
])
def test_what_is_refused_says_why(options, message):
    arguments = {"in_channels": 4, "out_channels": 4, **options}
    with pytest.raises(ValueError, match=message):
        ConvTwist2d(**arguments)
    record("refusals that name the argument", 1)


def test_unknown_arguments_are_not_swallowed():
    with pytest.raises(TypeError, match="unexpected keyword"):
        ConvTwist2d(4, 4, stride=1, iters=4)
    with pytest.raises(TypeError):
        ConvTwist2d(4, 4, 3, 1, 1, 1, 1, True, "zeros", None, None, "affine")  # keyword only from here on


def test_wrong_inputs_say_what_to_do():
    layer = ConvTwist2d(3, 4)
    with pytest.raises(ValueError, match=r"permute\(0, 3, 1, 2\)"):
        layer(torch.zeros(1, 8, 8, 3))
    with pytest.raises(TypeError, match="255"):
        layer(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"input\[None\]"):
        layer(torch.zeros(8, 8))


def test_a_twist_layer_learns_a_rotation_and_a_convolution_cannot():
    """One layer of 9 + 2 weights against 9, from pairs before and after a small turn."""
    generator = torch.Generator().manual_seed(0)
    from convtwist.operators import fields

    u = nn.functional.avg_pool2d(torch.randn(4, 1, 24, 24, generator=generator), 5, 1, 2)
    target = u + 0.1 * 12 * fields(u, "similarity")[:, 1]  # pixel coordinates are 12 times ours
    losses = {}
    for make in (ConvTwist2d, nn.Conv2d):
        torch.manual_seed(0)
        layer = make(1, 1, 3, padding=1)
        optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=60)

        def closure(layer=layer, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (layer(u) - target).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)
        losses[make] = closure().item()
        if make is ConvTwist2d:
            assert layer.twist[1].item() == pytest.approx(1.2, abs=0.01)
            assert layer.twist[0].item() == pytest.approx(0, abs=0.01)
    assert losses[ConvTwist2d] < 1e-4 * losses[nn.Conv2d]


def test_exports():
    assert convtwist.ConvTwist2d is ConvTwist2d
    assert {"ConvTwist2d", "IsoTwist2d"} <= set(convtwist.__all__)


def test_a_checkpoint_without_twists_is_not_loaded_in_silence():
    """``strict=False`` passes over the missing twist: right where it is zero, and said where it is not."""
    plain = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU())
    model = nn.Sequential(ConvTwist2d(4, 6), nn.ReLU())
    with pytest.warns(UserWarning, match=r"has 0\.weight but no 0\.twist, so the layer keeps .* not zero"):
        model.load_state_dict(plain.state_dict(), strict=False)
    with pytest.raises(RuntimeError, match=r"Missing key.*0\.twist"):
        model.load_state_dict(plain.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.load_state_dict({}, strict=False)
        model.load_state_dict(model.state_dict(), strict=False)
        convert(plain).load_state_dict(plain.state_dict(), strict=False)
