"""convtwist.fold_batch_norm: exact with every variant; what others fold without the twist is noticed."""

import copy
import io
import itertools
import types
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

from convtwist import ConvTwist2d, IsoTwist2d, convert, fold_batch_norm

torch.set_num_threads(1)

LAYERS = {
    "similarity, no bias": lambda: ConvTwist2d(4, 8, 3, padding=1, bias=False),
    "first order, centres, stride": lambda: ConvTwist2d(4, 8, 3, 2, 1, operators="first_order", centers=True),
    "groups in a cycle, reflected": lambda: ConvTwist2d(4, 8, 3, padding=1, groups=2, permute="cycle",
                                                        operators="affine", padding_mode="reflect"),
    "isotropic, reduced": lambda: IsoTwist2d(4, 8, groups=2, reduce=2),
    "plain": lambda: nn.Conv2d(4, 8, 3, bias=False),
}


class Residual(nn.Module):
    """Two layers fold; the third's output is also added, so its normalisation stays."""

    def __init__(self, layer):
        super().__init__()
        self.first, self.norm1 = layer, nn.BatchNorm2d(8)
        self.second, self.norm2 = ConvTwist2d(8, 8, padding=1), nn.BatchNorm2d(8, affine=False)
        self.third, self.norm3 = ConvTwist2d(8, 8, padding=1), nn.BatchNorm2d(8)

    def forward(self, u):
        u = self.norm2(self.second(self.norm1(self.first(u)).relu()))
        v = self.third(u)
        return v + self.norm3(v)


def trained(model):
    """Return a model whose normalisations have statistics and factors of their own."""
    for _ in range(3):
        model(3 + 2 * torch.randn(4, 4, 10, 12))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return model.eval()


@pytest.mark.parametrize("name", LAYERS)
def test_the_outputs_stay(name):
    torch.manual_seed(0)
    model = trained(Residual(LAYERS[name]()))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    folded, u = fold_batch_norm(model), torch.randn(2, 4, 11, 14)
    torch.testing.assert_close(folded(u), model(u), rtol=1e-4, atol=1e-4)
    assert [type(m) for m in (folded.norm1, folded.norm2, folded.norm3)] == [nn.Identity, nn.Identity, nn.BatchNorm2d]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()), "the model was changed"


def test_one_pair_by_itself_and_a_model_that_cannot_be_traced():
    class Branching(nn.Sequential):
        def forward(self, u):
            return super().forward(u) if u.sum() > 0 else u

    torch.manual_seed(0)
    model, u = trained(nn.Sequential(ConvTwist2d(4, 4, padding=1), nn.BatchNorm2d(4))), torch.rand(1, 4, 6, 6)
    torch.testing.assert_close(fold_batch_norm(model[0], model[1])(u), model(u), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"cannot be traced .*fold pair by pair: model\.conv = fold_batch_norm"):
        fold_batch_norm(Branching(*model).eval())


@pytest.mark.parametrize(("call", "says"), [
    (lambda: fold_batch_norm(nn.Sequential(ConvTwist2d(4, 4), nn.BatchNorm2d(4))), r"call model\.eval\(\) first"),
    (lambda: fold_batch_norm(ConvTwist2d(4, 4), nn.BatchNorm2d(4)), "in evaluation"),
    (lambda: fold_batch_norm(ConvTwist2d(4, 4, padding=1, steps=2), nn.BatchNorm2d(4).eval()), "steps=2"),
])
def test_refusals_say_what_to_do(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_another_kind_of_layer_is_refused_and_nothing_to_fold_is_said():
    with pytest.raises(TypeError, match="got Linear"):
        fold_batch_norm(nn.Linear(3, 3), nn.BatchNorm2d(3).eval())
    with pytest.warns(UserWarning, match="nothing was folded"):
        fold_batch_norm(nn.Sequential(ConvTwist2d(4, 4)).eval())


class BatchNormAct2d(nn.BatchNorm2d):
    """Has the name and the parts of timm's."""

    __module__ = "timm.layers.norm_act"

    def __init__(self, channels):
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, u):
        return self.act(self.drop(super().forward(u)))


class Doubled(nn.BatchNorm2d):
    def forward(self, u):
        return 2 * super().forward(u)


def test_what_a_normalisation_does_besides_stays():
    torch.manual_seed(0)
    model, u = trained(nn.Sequential(ConvTwist2d(4, 4, padding=1), BatchNormAct2d(4))), torch.randn(1, 4, 6, 6)
    folded = fold_batch_norm(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert (model(u) == 0).any(), "the activation has no say"
    torch.testing.assert_close(folded(u), model(u), rtol=1e-4, atol=1e-5)
    unknown = trained(nn.Sequential(ConvTwist2d(4, 4, padding=1), Doubled(4)))
    with pytest.warns(UserWarning, match="nothing was folded"):
        assert torch.equal(fold_batch_norm(unknown)(u), unknown(u))
    for each in (model, unknown):
        with pytest.raises(ValueError, match=rf"norm is a {type(each[1]).__name__}, which does more"):
            fold_batch_norm(*each)


class Standardised(nn.Conv2d):
    def forward(self, u):
        return self._conv_forward(u, self.weight / self.weight.std((1, 2, 3), keepdim=True), self.bias)


class Bent(ConvTwist2d):
    def forward(self, u):
        return super().forward(u).tanh()


def hooked(layer):
    layer.register_forward_hook(lambda module, args, output: output.relu())
    return layer


def replaced(layer):
    layer.forward = lambda u: ConvTwist2d.forward(layer, u).tanh()
    return layer


NOT_FOLDABLE = {
    "weight norm": (lambda: parametrizations.weight_norm(ConvTwist2d(4, 4)), "its weight is computed"),
    "weight norm, twist": (lambda: parametrizations.weight_norm(ConvTwist2d(4, 4), "twist"), "its twist is computed"),
    "spectral norm": (lambda: parametrizations.spectral_norm(nn.Conv2d(4, 4, 3)), "its weight is computed"),
    "isotropic": (lambda: parametrizations.weight_norm(IsoTwist2d(4, 4)), "its weight is computed"),
    "pruned": (lambda: prune.l1_unstructured(ConvTwist2d(4, 4), "twist", 0.5), "its twist is computed"),
    "standardised": (lambda: Standardised(4, 4, 3), "forward of its own .Standardised., .* more than a Conv2d"),
    "bent": (lambda: Bent(4, 4), "forward of its own .Bent., .* more than a ConvTwist2d"),
    "replaced": (lambda: replaced(ConvTwist2d(4, 4)), "forward of its own"),
    "hooked": (lambda: hooked(ConvTwist2d(4, 4)), "has hooks"),
}


@pytest.mark.parametrize("case", NOT_FOLDABLE)
def test_a_layer_whose_parameters_do_not_say_all_keeps_its_normalisation(case):
    make, says = NOT_FOLDABLE[case]
    torch.manual_seed(0)
    with torch.no_grad():
        model, u = trained(nn.Sequential(make(), nn.BatchNorm2d(4))), torch.randn(2, 4, 9, 9)
        with pytest.warns(UserWarning, match=f"nothing was folded: 0: .*{says}"):
            assert torch.equal(fold_batch_norm(model)(u), model(u))
    with pytest.raises(ValueError, match=f"model cannot be folded: .*{says}"):
        fold_batch_norm(*model)


def test_a_normalisation_that_is_more_or_less_than_one_stays_alone():
    pairs = [(ConvTwist2d(4, 4), nn.BatchNorm2d(4)) for _ in range(3)]
    pairs[0][1].register_forward_hook(lambda module, args, output: output.relu())
    prune.l1_unstructured(pairs[1][1], "weight", 0.5)
    pairs.append((ConvTwist2d(4, 4), nn.BatchNorm2d(4, track_running_stats=False)))
    pairs.append((ConvTwist2d(4, 4), nn.SyncBatchNorm(4)))
    model = nn.Sequential(*(each for pair in pairs for each in pair)).eval()
    with torch.no_grad():
        for _, norm in pairs[:3]:
            norm.running_mean.normal_()
        u = torch.randn(2, 4, 16, 16)
        model(u)
        with pytest.warns(UserWarning, match=r"some normalisations stay: 1: .* hooks.*; 3: its weight is computed.*; "
                                             "7: .* no running statistics.*; 9: it is a SyncBatchNorm"):
            folded = fold_batch_norm(model)
        torch.testing.assert_close(folded(u), model(u), rtol=1e-4, atol=1e-4)
    assert [k for k, (_, norm) in enumerate(pairs) if type(folded[2 * k + 1]) is nn.Identity] == [2]
    with pytest.raises(ValueError, match="norm has 1 channels, but model has 4 output channels"):
        fold_batch_norm(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(1).eval())


class Conv2dSame(nn.Conv2d):
    """Has the name and the padding of timm's."""

    __module__ = "timm.layers.conv2d_same"

    def forward(self, u):
        return F.conv2d(F.pad(u, (0, 1, 0, 1)), self.weight, self.bias, self.stride)


def test_timms_padding_is_linear():
    torch.manual_seed(0)
    model, u = trained(nn.Sequential(Conv2dSame(4, 4, 3, 2), nn.BatchNorm2d(4))), torch.randn(1, 4, 6, 6)
    folded = fold_batch_norm(model)
    assert type(folded[1]) is nn.Identity
    torch.testing.assert_close(folded(u), model(u), rtol=1e-4, atol=1e-5)


class Reads(nn.Module):
    """A layer, its normalisation, and somebody who reads them besides."""

    def __init__(self, look=None, hold=None):
        super().__init__()
        self.conv, self.norm, self.look = ConvTwist2d(4, 4, padding=1), nn.BatchNorm2d(4), look
        self.leaf = Leaf(hold(self) if hold else None)

    def forward(self, u):
        return self.norm(self.conv(u)), self.leaf(u), self.look(self, u) if self.look else u


class Leaf(nn.Module):
    """Has no children, so a trace does not look inside."""

    def __init__(self, held):
        super().__init__()
        self.held = held

    def forward(self, u):
        held = self.held[0] if isinstance(self.held, tuple) else getattr(self.held, "op", None)
        if isinstance(held, nn.BatchNorm2d):
            return held(u)
        return u if held is None else F.conv2d(u, getattr(held, "conv", held).weight)


@pytest.mark.parametrize(("look", "hold"), [
    (lambda net, u: F.conv2d(u, net.conv.weight, dilation=2), None),
    (lambda net, u: net.conv.forward(u), None),
    (lambda net, u: u * net.norm.weight.view(-1, 1, 1), None),
    (lambda net, u: u * net.norm.running_mean.view(-1, 1, 1), None),
    (None, lambda net: (net.conv,)),
    (None, lambda net: types.SimpleNamespace(op=net.norm)),
    (None, lambda net: (net,)),
], ids=["weight", "forward", "factor", "statistics", "held layer", "held norm", "held parent"])
def test_what_is_read_elsewhere_stays(look, hold):
    torch.manual_seed(0)
    model, u = trained(Reads(look, hold)), torch.randn(1, 4, 8, 8)
    with torch.no_grad(), pytest.warns(UserWarning, match="nothing was folded: .*(read elsewhere|also held)"):
        for one, two in zip(fold_batch_norm(model)(u), model(u), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_a_tied_weight_is_read_under_another_name():
    class Tied(Reads):
        def __init__(self):
            super().__init__(lambda net, u: F.conv2d(u, net.conv.weight))
            self.first = nn.Conv2d(4, 4, 3)  # a trace calls the shared weight by the name it meets first
            self.first.weight = self.conv.weight
            self._modules = {name: self._modules[name] for name in ("first", "conv", "norm", "leaf")}

    model, u = trained(Tied()), torch.randn(1, 4, 8, 8)
    with pytest.warns(UserWarning, match="nothing was folded: conv: what it holds is read elsewhere"):
        torch.testing.assert_close(fold_batch_norm(model)(u)[2], model(u)[2])


def test_an_argument_left_out_is_another_way_through():
    class Optional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = ConvTwist2d(4, 4), nn.BatchNorm2d(4)

        def forward(self, u, mask=None):
            u = self.conv(u)
            return u + self.norm(u) if mask is None else self.norm(u)

    model, u = trained(Optional()), torch.randn(1, 4, 8, 8)
    with pytest.warns(UserWarning, match="nothing was folded"):
        folded = fold_batch_norm(model)
    for arguments in ((u,), (u, u)):
        torch.testing.assert_close(folded(*arguments), model(*arguments))


def test_a_forward_replaced_on_the_model_is_not_passed_over():
    model = trained(nn.Sequential(ConvTwist2d(4, 4), nn.BatchNorm2d(4)))
    model.forward = lambda u: model[0](u) + model[1](model[0](u))
    with pytest.raises(ValueError, match=r"cannot be traced .*its forward was replaced"):
        fold_batch_norm(model)


def test_tracing_leaves_nothing_on_the_folded_model():
    class Remembers(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = ConvTwist2d(4, 8, padding=1), nn.BatchNorm2d(8)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, u):
            self.calls.add_(1)
            self.features = self.norm(self.conv(u))
            return self.features.relu()

    model = Remembers().eval()
    folded = fold_batch_norm(model)
    assert not hasattr(folded, "features") and folded.calls == 0 and not folded.norm.training
    torch.save(folded.state_dict(), io.BytesIO())
    model(torch.randn(1, 4, 6, 6))
    with pytest.raises(ValueError, match=r"cannot be copied, since features is .* kept from a forward pass"):
        fold_batch_norm(model)


@pytest.mark.parametrize("bias", [True, False])
def test_a_foreign_fold_is_noticed(bias):
    """PyTorch's own, which scales weight and bias alone; right where the twist is zero."""
    norm = nn.BatchNorm2d(8).eval()
    with pytest.raises(RuntimeError, match=r"use convtwist\.fold_batch_norm"):
        torch.nn.utils.fuse_conv_bn_eval(ConvTwist2d(4, 8, bias=bias).eval(), norm)
    plain = nn.Conv2d(4, 8, 3, bias=bias).eval()
    fused, u = torch.nn.utils.fuse_conv_bn_eval(convert(plain), norm), torch.rand(1, 4, 6, 6)
    torch.testing.assert_close(fused(u), norm(plain(u)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_foreign_fold_is_noticed_in_every_type(dtype):
    layer, factors = ConvTwist2d(64, 32, dtype=dtype), torch.linspace(0, 2, 32).to(dtype)
    layer.twist = nn.Parameter(layer.twist.detach().clone())  # long before
    layer.weight = nn.Parameter(layer.weight.detach() * factors.view(-1, 1, 1, 1))
    with pytest.raises(RuntimeError, match="but not its twist") as caught:
        layer.bias = nn.Parameter(torch.zeros(32, dtype=dtype))
    assert "if this is no fold, replace the twist before the bias: layer.twist =" in str(caught.value)
    layer.twist = nn.Parameter(layer.twist.detach().clone())
    layer.bias = nn.Parameter(torch.zeros(32, dtype=dtype))


def test_a_fold_into_the_old_weight_is_noticed_by_the_bias_that_it_adds():
    layer = ConvTwist2d(4, 8, bias=False)
    layer.weight.data = layer.weight.data * 2  # which leaves no trace
    with pytest.raises(RuntimeError, match=r"without a bias was given one, but not its twist: .*fold_batch_norm"):
        layer.bias = nn.Parameter(torch.zeros(8))
    zero = ConvTwist2d(4, 8, bias=False, twist_init="zeros")
    zero.bias = nn.Parameter(torch.zeros(8))


def test_replacing_parameters_for_other_reasons_is_no_fold():
    layer, other = ConvTwist2d(4, 8), ConvTwist2d(4, 8)
    layer.weight = other.weight  # tied
    layer.load_state_dict(other.state_dict(), assign=True)
    layer.bias = nn.Parameter(torch.zeros(8))
    assert not layer.bias.any()
    without = ConvTwist2d(4, 8, bias=False)
    without.twist = nn.Parameter(without.twist.detach().clone())
    without.bias = nn.Parameter(torch.zeros(8))
    parametrizations.weight_norm(layer, "weight")
    torch.nn.utils.parametrize.remove_parametrizations(layer, "weight")
    layer.bias = nn.Parameter(torch.ones(8))
    for order in itertools.permutations(("weight", "twist", "bias")):
        layer = ConvTwist2d(4, 8)
        for source in (ConvTwist2d(4, 8), copy.deepcopy(layer), other):
            for name in order:
                setattr(layer, name, nn.Parameter(getattr(source, name).detach().clone()))
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_plain_checkpoint_that_is_assigned_says_what_becomes_of_the_twist(device, bias):
    """A multiple of the weights it finds is no fold, either."""
    model = nn.Sequential(ConvTwist2d(4, 8, bias=bias), nn.Conv2d(8, 8, 1)).to(device)
    state = nn.Sequential(nn.Conv2d(4, 8, 3, bias=bias), nn.Conv2d(8, 8, 1)).state_dict()
    if device == "cpu":
        state["0.weight"] = 2 * model[0].weight.detach()
    says = {"cpu": "keeps the twist it had, which is not zero", "meta": "stays on the meta device"}[device]
    with pytest.warns(UserWarning, match=f"has 0.weight but no 0.twist, so the .*{says}"):
        found = model.load_state_dict(state, strict=False, assign=True)
    assert found.missing_keys == ["0.twist"] and torch.equal(model[0].weight, state["0.weight"])
    if device == "cpu" and bias:
        model[0].bias = nn.Parameter(torch.zeros(8))


@pytest.mark.parametrize("change", [
    lambda layer: parametrizations.weight_norm(layer, "twist"),
    lambda layer: prune.l1_unstructured(layer, "twist", 0.5),
    lambda layer: layer,
], ids=["normalised", "pruned", "plain"])
def test_a_checkpoint_with_the_twist_under_another_name_has_the_twist(change):
    one, two = (change(ConvTwist2d(4, 8)) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        two.load_state_dict(one.state_dict())
        for name, value in one.state_dict().items():  # one at a time, as some libraries do
            if "twist" in name:
                two.load_state_dict({name: value}, strict=False)
    u = torch.randn(1, 4, 6, 6)
    assert torch.equal(one(u), two(u))
    with pytest.warns(UserWarning, match="has weight but no twist"):
        two.load_state_dict({"weight": one.weight.detach()}, strict=False)
