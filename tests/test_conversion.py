"""What convert must keep, what it must leave alone and say so, and the way back."""

import collections
import copy
import functools
import json
import pickle
import re
import types
import warnings
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

import convtwist
from convtwist import ConvTwist2d, IsoTwist2d, conversion_report, convert, param_groups, rescale_twists, revert

torch.set_num_threads(1)


class Block(nn.Module):
    """A residual block with an ordinary, a grouped and strided, a dilated, and a 1x1 convolution."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.body = nn.Sequential(
            nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding="same", dilation=2, padding_mode="reflect"),
        )
        self.mix = nn.Conv2d(8, 8, 1)
        self.up = nn.ConvTranspose2d(8, 8, 3)
        self.head = nn.Linear(8, 5)

    def forward(self, u):
        u = self.norm(self.stem(u)).relu()
        return self.head(self.up(self.mix(self.body(u))).mean((2, 3)))


THREES = ("stem", "body.0", "body.2")


def net():
    torch.manual_seed(0)
    return Block()


def images(n=2):
    return torch.randn(n, 3, 14, 18, generator=torch.Generator().manual_seed(1))


def reason(model, name):
    (record,) = [r for r in conversion_report(model).records if name in r.names]
    return record.reason


def swapped(model):
    return sorted(name for name, m in model.named_modules() if isinstance(m, ConvTwist2d))


# What stays the same


@pytest.mark.parametrize("operators", ["similarity", "affine", "first_order"])
@pytest.mark.parametrize("centers", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_outputs_and_gradients_are_unchanged_bit_for_bit(operators, centers, training):
    before = net().train(training)
    after = convert(before, operators=operators, centers=centers)
    assert swapped(after) == sorted(THREES)
    u, v = (images().requires_grad_() for _ in range(2))
    old, new = before(u), after(v)
    assert torch.equal(old, new)
    old.square().sum().backward()
    new.square().sum().backward()
    grads = {name: p.grad for name, p in after.named_parameters()}
    for name, p in before.named_parameters():
        assert torch.equal(p.grad, grads[name]), name
    assert torch.equal(u.grad, v.grad)
    # The test would pass with a twist that is never used: its gradient shows that it is.
    assert all(grads[f"{name}.twist"].abs().max() > 0 for name in THREES)
    assert torch.equal(before.norm.running_var, after.norm.running_var)


def test_a_twist_that_is_not_zero_changes_the_outputs():
    model = convert(net().eval())
    before = model(images())
    nn.init.normal_(model.stem.twist)
    assert not torch.equal(before, model(images()))
    assert not torch.equal(before, convert(net().eval(), twist_init="normal")(images()))


@pytest.mark.parametrize("config", [
    {},
    {"stride": (2, 1), "padding": (0, 2)},
    {"dilation": 3, "groups": 2, "bias": False},
    {"padding": "valid"},
    {"padding": "same", "dilation": (1, 2), "padding_mode": "circular"},
    {"padding": 2, "padding_mode": "replicate", "stride": 3},
])
def test_every_argument_of_the_layer_is_kept(config):
    conv = nn.Conv2d(4, 6, 3, **config)
    layer = convert(conv)
    back = revert(layer)
    assert type(layer) is ConvTwist2d and type(back) is nn.Conv2d
    assert back.extra_repr() == conv.extra_repr()
    u = torch.randn(2, 4, 11, 9)
    assert torch.equal(conv(u), layer(u)) and torch.equal(conv(u), back(u))
    assert list(layer.state_dict())[: len(conv.state_dict())] != [] and set(conv.state_dict()) < set(layer.state_dict())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_dtype_is_kept(dtype):
    model = convert(nn.Sequential(nn.Conv2d(3, 4, 3)).to(dtype), centers=True)
    assert {p.dtype for p in model.parameters()} == {dtype}


def test_device_is_kept_and_no_memory_is_made_for_a_model_without_any():
    model = convert(net().to("meta"), centers=True)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert {p.device.type for p in revert(model, drop_twist=True).parameters()} == {"meta"}


def test_training_flags_are_kept_layer_by_layer():
    before = net().train()
    before.body.eval()
    after = convert(before)
    assert {n: m.training for n, m in after.named_modules()} == {n: m.training for n, m in before.named_modules()}
    assert not after.body[0].training and after.stem.training


def test_a_frozen_layer_gets_a_frozen_twist():
    before = net()
    before.stem.requires_grad_(False)
    before.body[0].bias.requires_grad_(False)
    after = convert(before, centers=True)
    assert not any(p.requires_grad for p in after.stem.parameters())
    assert {n: p.requires_grad for n, p in after.body[0].named_parameters()} == {
        "weight": True, "bias": False, "twist": True, "center": True}
    assert {n for n, p in revert(after).named_parameters() if not p.requires_grad} == \
        {n for n, p in before.named_parameters() if not p.requires_grad}


def test_parameters_are_handed_on_with_their_optimizer_state():
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(images()).sum().backward()
    weight, grad = model.stem.weight, model.stem.weight.grad
    convert(model, inplace=True)
    assert model.stem.weight is weight and model.stem.weight.grad is grad
    before = weight.detach().clone()
    optimizer.step()
    assert not torch.equal(model.stem.weight, before)
    revert(model, inplace=True)
    assert type(model.stem) is nn.Conv2d and model.stem.weight is weight


def test_the_original_is_left_alone_unless_inplace():
    before = net()
    state = copy.deepcopy(before.state_dict())
    after = convert(before)
    nn.init.ones_(after.stem.weight)
    assert swapped(before) == []
    assert all(torch.equal(value, before.state_dict()[key]) for key, value in state.items())
    assert convert(before, inplace=True) is before and swapped(before) == sorted(THREES)
    assert revert(before) is not before and swapped(before) == sorted(THREES)


def test_order_of_names_is_kept():
    before = net()
    assert [n for n, _ in convert(before).named_modules()] == [n for n, _ in before.named_modules()]


def test_the_random_state_is_left_alone():
    model = net()
    state = torch.get_rng_state()
    revert(convert(model, centers=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_converting_twice_changes_nothing():
    once = convert(net())
    nn.init.normal_(once.stem.twist)
    layers = {name: module for name, module in once.named_modules()}
    twice = convert(once, inplace=True)
    assert all(layers[name] is module for name, module in twice.named_modules())
    copied = convert(once)
    assert torch.equal(copied.stem.twist, once.stem.twist)
    assert convert(nn.Sequential(nn.Conv2d(3, 3, 3)), operators="affine")[0].operators == "affine"


@pytest.mark.parametrize("inplace", [False, True])
def test_a_bare_layer_is_handled(inplace):
    conv = nn.Conv2d(3, 8, 3).eval()
    layer = convert(conv, inplace=inplace)
    assert type(layer) is ConvTwist2d and not layer.training
    assert (layer.weight is conv.weight) == inplace
    assert convert(layer, inplace=True) is layer
    back = revert(layer, inplace=inplace)
    assert type(back) is nn.Conv2d and torch.equal(back.weight, conv.weight)


def test_copies_and_pickles_of_a_converted_model_compute_the_same():
    model = convert(net().eval())
    nn.init.normal_(model.stem.twist)
    u = images()
    assert torch.equal(copy.deepcopy(model)(u), model(u))
    assert torch.equal(pickle.loads(pickle.dumps(model))(u), model(u))
    fresh = convert(Block().eval())
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(u), model(u))


# What is shared stays shared


def test_a_shared_layer_stays_one_layer():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.ModuleDict({"a": nn.Sequential(conv, nn.ReLU()), "b": conv, "c": nn.ModuleList([conv])})
    after = convert(model)
    assert after["a"][0] is after["b"] is after["c"][0] and isinstance(after["b"], ConvTwist2d)
    (record,) = conversion_report(after).records
    assert record.names == ("a.0", "b", "c.0")
    back = revert(after)
    assert back["a"][0] is back["b"] is back["c"][0] and type(back["b"]) is nn.Conv2d
    with pytest.warns(UserWarning, match="exclude='b'"):
        assert swapped(convert(model, exclude="b")) == []


def test_tied_weights_stay_tied_and_tie_the_twist():
    first, second = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
    second.weight = first.weight
    after = convert(nn.Sequential(first, second))
    assert after[0] is not after[1]
    assert after[0].weight is after[1].weight and after[0].twist is after[1].twist
    assert after[0].bias is not after[1].bias
    back = revert(after)
    assert back[0].weight is back[1].weight


# Hooks and attributes


def test_hooks_keep_firing_with_the_new_layer_and_their_handles_remove_them():
    model = net().train()
    calls = []
    handles = [
        model.stem.register_forward_pre_hook(lambda m, args: calls.append(("pre", type(m).__name__))),
        model.stem.register_forward_hook(lambda m, args, out: calls.append(("post", type(m).__name__))),
        model.stem.register_forward_hook(
            lambda m, args, kwargs, out: calls.append(("kwargs", type(m).__name__)), with_kwargs=True),
        model.stem.register_full_backward_hook(lambda m, i, o: calls.append(("back", type(m).__name__))),
        model.stem.register_full_backward_pre_hook(lambda m, o: calls.append(("back pre", type(m).__name__))),
        model.stem.register_state_dict_pre_hook(lambda m, prefix, keep: calls.append(("state", type(m).__name__))),
        model.stem.register_load_state_dict_pre_hook(lambda m, *rest: calls.append(("load", type(m).__name__))),
        model.stem.register_load_state_dict_post_hook(lambda m, keys: calls.append(("loaded", type(m).__name__))),
    ]

    def exercise(kind):
        calls.clear()
        u = images().requires_grad_()
        model(u).sum().backward()
        model.load_state_dict(model.state_dict())
        assert {what for what, _ in calls} == {"pre", "post", "kwargs", "back", "back pre", "state", "load", "loaded"}
        assert {name for _, name in calls} == {kind}

    convert(model, inplace=True)
    exercise("ConvTwist2d")
    revert(model, inplace=True)
    exercise("Conv2d")
    convert(model, inplace=True)
    for handle in handles:
        handle.remove()
    calls.clear()
    model(images().requires_grad_()).sum().backward()
    model.load_state_dict(model.state_dict())
    assert calls == []


def test_a_hook_that_alters_the_output_still_does():
    model = net().eval()
    model.stem.register_forward_hook(lambda m, args, out: out * 2)
    assert torch.equal(model(images()), convert(model)(images()))


def test_attributes_of_ones_own_are_carried_there_and_back():
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    model[0].note = {"lr": 0.1}
    after = convert(model)
    assert after[0].note == {"lr": 0.1}
    assert revert(after)[0].note == {"lr": 0.1}


# What is left alone, with the reason


class Padded(nn.Conv2d):
    """A subclass with a forward pass of its own, as EfficientNet packages have."""

    def forward(self, u):
        return super().forward(F.pad(u, (0, 1, 0, 1)))


def weight_normed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nn.utils.weight_norm(nn.Conv2d(4, 4, 3, padding=1))


def pruned():
    import torch.nn.utils.prune as prune
    return prune.l1_unstructured(nn.Conv2d(4, 4, 3, padding=1), "weight", 0.5)


def own_forward():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    conv.forward = functools.partial(nn.Conv2d.forward, conv)
    return conv


def compiled():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    conv.compile()
    return conv


def with_buffer():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    conv.register_buffer("scale", torch.ones(1))
    return conv


def clashing():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    conv.steps = 100
    return conv


LEFT_ALONE = {
    "1x1": (lambda: nn.Conv2d(4, 4, 1), "kernel is 1x1, a twist needs 3x3"),
    "5x3": (lambda: nn.Conv2d(4, 4, (5, 3), padding=(2, 1)), "kernel is 5x3"),
    "transposed": (lambda: nn.ConvTranspose2d(4, 4, 3, padding=1), "transposed convolution"),
    "subclass": (lambda: Padded(4, 4, 3, padding=1), "Padded is a subclass of Conv2d"),
    "parametrised": (lambda: torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3, padding=1)),
                     "weight is parametrised; call .*remove_parametrizations"),
    "spectral": (lambda: torch.nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 4, 3, padding=1)),
                 "weight is parametrised"),
    "old weight norm": (weight_normed, "weight_g, weight_v .*remove that first"),
    "old spectral norm": (lambda: torch.nn.utils.spectral_norm(nn.Conv2d(4, 4, 3, padding=1)), "weight_orig"),
    "pruned": (pruned, "weight_orig .*remove that first"),
    "own forward": (own_forward, "'forward' was replaced"),
    "compiled": (compiled, "'_compiled_call_impl' was replaced"),
    "buffer": (with_buffer, "buffers of its own"),
    "attribute": (clashing, "'steps' was replaced"),
}


@pytest.mark.parametrize("case", LEFT_ALONE)
def test_what_cannot_be_swapped_without_loss_is_left_alone_with_the_reason(case):
    make, expected = LEFT_ALONE[case]
    torch.manual_seed(0)
    model = nn.Sequential(make(), nn.Conv2d(4, 4, 3)).eval()
    kind, u = type(model[0]), torch.randn(1, 4, 8, 8)
    before = None if case == "compiled" else model(u)
    convert(model, inplace=True)
    assert type(model[0]) is kind and swapped(model) == ["1"]
    assert re.search(expected, reason(model, "0")), reason(model, "0")
    if before is not None:
        assert torch.equal(before, model(u))


def test_lazy_layers_wait_for_their_first_batch():
    model = nn.Sequential(nn.LazyConv2d(4, 3))
    with pytest.warns(UserWarning, match=r"no layer was swapped: lazy.* run one batch.* \(1\)"):
        assert swapped(convert(model)) == []
    model(torch.randn(1, 3, 8, 8))
    assert swapped(convert(model)) == ["0"]


@pytest.mark.parametrize(("layer", "expected"), [
    (nn.Conv1d(4, 4, 3), "not two-dimensional"),
    (nn.Conv3d(4, 4, 3), "not two-dimensional"),
    (nn.ConvTranspose1d(4, 4, 3), "transposed"),
])
def test_other_dimensions_are_left_alone(layer, expected):
    with pytest.warns(UserWarning, match=expected):
        convert(nn.Sequential(layer))


def test_a_convolution_of_another_make_is_named():
    class FancyConv(nn.Module):
        def forward(self, u):
            return u

    with pytest.warns(UserWarning, match="FancyConv is not an nn.Conv2d"):
        convert(nn.Sequential(FancyConv()))


def test_a_layer_that_is_also_used_through_a_plain_attribute_is_left_alone():
    class Listed(nn.Module):
        def __init__(self, hold):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)
            self.other = nn.Conv2d(3, 3, 3)
            hold(self)

    def in_list(model):
        model.stages = [("first", [model.conv])]

    def as_bound_method(model):
        model.call = model.conv.forward

    def behind_torchs_back(model):
        vars(model)["hidden"] = model.conv

    for hold, name in ((in_list, "stages"), (as_bound_method, "call"), (behind_torchs_back, "hidden")):
        model = convert(Listed(hold), inplace=True)
        assert swapped(model) == ["other"]
        assert f"plain attribute '{name}'" in reason(model, "conv")


class Slotted:
    __slots__ = ("op",)

    def __init__(self, op):
        self.op = op


def closed_over(conv):
    return lambda u: conv(u)


HELD = {
    "plain object": lambda conv: types.SimpleNamespace(op=conv),
    "object with slots": Slotted,
    "deque": lambda conv: collections.deque([conv]),
    "default": lambda conv: (lambda u, op=conv: op(u)),
    "closure": closed_over,
    "weak reference": weakref.ref,
    "partial's argument": lambda conv: functools.partial(F.relu, conv),
    "partial's keyword": lambda conv: functools.partial(F.relu, inplace=conv),
    "deep list": lambda conv: [[[[[[conv]]]]]],
    "key": lambda conv: {conv: 1},
    "wrapper that is no child": lambda conv: (nn.Sequential(nn.Sequential(conv)),),
}


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("kind", HELD)
def test_whoever_else_holds_a_layer_keeps_it(kind, inplace):
    """Functions and weak references are not copied: on the copy they hold the layer of the original."""
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
    model.held = HELD[kind](model[0])
    model = convert(model, inplace=inplace)
    assert swapped(model) == ["1"] and "attribute 'held'" in reason(model, "0")
    twisted = nn.Sequential(convert(nn.Conv2d(4, 4, 3)))
    twisted.held = HELD[kind](twisted[0])
    with pytest.raises(ValueError, match="0: also held in the plain attribute 'held'"):
        revert(twisted, inplace=inplace)


def test_the_report_names_the_holder_on_a_copy_too():
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())
    model[1].register_forward_hook(lambda module, args, output, conv=model[0]: conv(output))
    with pytest.warns(UserWarning, match="no layer was swapped: also held in the plain attribute '1._forward_hooks'"):
        copied = convert(model)
    assert "'1._forward_hooks'" in reason(copied, "0")


def test_a_parent_that_is_remembered_holds_nothing():
    """A swap reaches the parent's children wherever the parent is held."""
    model = net()
    model.body[1].parents = [weakref.ref(model), (model.body,)]
    assert swapped(convert(model)) == swapped(convert(net()))


def test_a_subclass_of_the_same_name_is_told_apart():
    same = type("Conv2d", (nn.Conv2d,), {"__module__": "elsewhere"})
    assert "elsewhere.Conv2d is a subclass of Conv2d" in reason(nn.Sequential(same(3, 4, 3)), "0")


def test_a_model_without_convolutions_warns():
    with pytest.warns(UserWarning, match="no layer was swapped: it has no convolutions"):
        convert(nn.Linear(3, 3))


# Choosing layers


@pytest.mark.parametrize(("options", "expected"), [
    ({"include": "body"}, ["body.0", "body.2"]),
    ({"include": ["stem", "*.2"]}, ["body.2", "stem"]),
    ({"include": "body.[01]"}, ["body.0"]),
    ({"include": "b*"}, ["body.0", "body.2"]),
    ({"exclude": "body"}, ["stem"]),
    ({"include": "body", "exclude": ("body.0",)}, ["body.2"]),
    ({"filter_fn": lambda name, layer: layer.groups == 1}, ["body.2", "stem"]),
    ({"filter_fn": lambda name, layer: name == "body.0"}, ["body.0"]),
    ({"exclude": "head"}, ["body.0", "body.2", "stem"]),
])
def test_layers_are_chosen_by_name_and_by_filter(options, expected):
    assert swapped(convert(net(), **options)) == expected


def test_a_pattern_is_no_mere_prefix():
    model = nn.ModuleDict({"conv1": nn.Conv2d(3, 3, 3), "conv10": nn.Conv2d(3, 3, 3)})
    assert swapped(convert(model, include="conv1")) == ["conv1"]


def test_the_report_says_who_passed_a_layer_over():
    model = convert(net(), include=["stem", "body"], exclude="body.2", filter_fn=lambda name, layer: name != "stem")
    assert reason(model, "body.2") == "exclude='body.2'"
    assert reason(model, "stem") == "filter_fn said no"
    assert reason(convert(net(), include="stem"), "body.0") == "no pattern of include matches"
    assert reason(net(), "stem") == "not converted yet"


@pytest.mark.parametrize("argument", ["include", "exclude"])
def test_a_pattern_that_matches_nothing_is_an_error_with_a_hint(argument):
    with pytest.raises(ValueError, match=f"{argument}='bdy.0' matches no module; the model has 'body.0'"):
        convert(net(), **{argument: ["stem", "bdy.0"]})


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: convert(net().state_dict()), TypeError, "model must be a torch.nn.Module, got OrderedDict"),
    (lambda: revert("model"), TypeError, "got str"),
    (lambda: conversion_report(None), TypeError, "got NoneType"),
    (lambda: param_groups([]), TypeError, "got list"),
    (lambda: convert(net(), include=3), TypeError, "include must be a name pattern or a list of them, got 3"),
    (lambda: convert(net(), exclude=[nn.ReLU()]), TypeError, "exclude must be a name pattern"),
    (lambda: convert(net(), filter_fn="stem"), TypeError, "filter_fn must be called as"),
    (lambda: convert(net(), operator="affine"), TypeError, "unknown option 'operator'; convert takes operators"),
    (lambda: convert(net(), stride=2), TypeError, "unknown option 'stride'"),
    (lambda: convert(net(), steps=2), TypeError, "steps changes what a layer computes"),
    (lambda: convert(net(), permute="cycle"), TypeError, "permute changes what a layer computes"),
    (lambda: convert(nn.Linear(1, 1), operators="projective"), ValueError, "operators must be one of"),
    (lambda: convert(net(), twist_init="zero"), ValueError, "twist_init must be one of"),
    (lambda: convert(torch.jit.trace(net().eval(), images())), ValueError, "is a ScriptModule: convert first"),
])
def test_errors_say_what_to_do(call, error, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=message):
            call()


def test_wrappers_for_several_devices_are_refused():
    class DistributedDataParallel(nn.Module):  # stands in for torch's, which needs a process group
        def __init__(self, module):
            super().__init__()
            self.module = module

    with pytest.raises(ValueError, match="DistributedDataParallel: convert first, wrap afterwards"):
        convert(nn.Sequential(DistributedDataParallel(net())))
    assert any(base.__name__ == "DistributedDataParallel" for base in nn.parallel.DistributedDataParallel.__mro__)


@pytest.mark.parametrize("base", ["PeftModel", "BaseTunerLayer"])
def test_adapters_of_peft_are_refused(base):
    """The real ones are in tests/strangers; these have no more than their names."""
    adapter = type("Lora", (type(base, (nn.Sequential,), {}),), {})
    model = nn.Sequential(adapter(net()))
    with pytest.raises(ValueError, match=rf"^0 is a {base}: convert first and .*, or .* merge_and_unload\(\)"):
        convert(model)
    assert not any(isinstance(module, ConvTwist2d) for module in model.modules())


def test_an_error_leaves_the_model_whole():
    model = net()
    calls = []

    def filter_fn(name, layer):
        calls.append(name)
        if len(calls) == 2:
            raise RuntimeError("no")
        return True

    with pytest.raises(RuntimeError, match="no"):
        convert(model, inplace=True, filter_fn=filter_fn)
    assert swapped(model) == []


# The way back


def test_revert_is_bit_equal_and_leaves_no_trace():
    before = net().eval()
    after = revert(convert(before))
    assert torch.equal(before(images()), after(images()))
    assert str(after) == str(before)
    assert list(after.state_dict()) == list(before.state_dict())
    for old, new in zip(before.modules(), after.modules(), strict=True):
        assert type(old) is type(new)
        assert vars(old).keys() == vars(new).keys()


def test_revert_keeps_trained_weights():
    model = convert(nn.Sequential(nn.Conv2d(3, 4, 3)))
    nn.init.normal_(model[0].weight)
    assert torch.equal(revert(model)[0].weight, model[0].weight)


@pytest.mark.parametrize("value", [1e-30, float("nan")])
def test_revert_names_the_layers_whose_twist_is_not_zero(value):
    model = convert(net())
    for layer in (model.stem, model.body[2]):
        layer.twist.data[0, 0, 0] = value
    with pytest.raises(ValueError, match=r"not zero in stem, body\.2; pass drop_twist=True"):
        revert(model, inplace=True)
    assert swapped(model) == sorted(THREES)
    back = revert(model, drop_twist=True)
    assert swapped(back) == [] and torch.equal(back(images()), net()(images()))


class Mine(ConvTwist2d):
    pass


def test_revert_refuses_what_no_convolution_can_do():
    torch.manual_seed(0)
    zeros = {"padding": 1, "twist_init": "zeros"}
    cases = {
        "steps=3 iterates": ConvTwist2d(4, 4, 3, steps=3, **zeros),
        "permute reorders": ConvTwist2d(4, 4, 3, groups=2, permute="cycle", **zeros),
        "weight is parametrised; call .*remove_parametrizations":
            torch.nn.utils.parametrizations.weight_norm(ConvTwist2d(4, 4, 3, **zeros)),
        "Mine is a subclass of ConvTwist2d, and what it adds would be lost": Mine(4, 4, 3, **zeros),
    }
    for message, layer in cases.items():
        with pytest.raises(ValueError, match=f"0: .*{message}"):
            revert(nn.Sequential(layer), drop_twist=True)


def test_revert_of_a_model_without_twists_changes_nothing():
    model = net()
    assert revert(model, inplace=True) is model and str(model) == str(net())


# The report


def test_report_counts_reads_and_dumps():
    report = conversion_report(convert(net(), operators="affine", centers=True))
    assert [r.names[0] for r in report.swapped] == list(THREES)
    assert [r.names[0] for r in report.skipped] == ["mix", "up"]
    assert report.swapped[0].weights == 8 * 3 * 9 and report.swapped[0].twist == 4 * 8 * 3 + 2 * 8
    assert report.swapped[1].weights == 8 * 2 * 9
    text = repr(report)
    assert "3 swapped, 2 skipped" in text and "8 -> 8, 3x3, stride 2x2, groups 4" in text
    assert len(text.splitlines()) == 1 + 5 + 1
    data = json.loads(json.dumps(report.to_dict()))
    assert data["swapped"] == 3 and data["layers"][3]["reason"] == "kernel is 1x1, a twist needs 3x3"


def test_report_of_nothing():
    assert "0 swapped, 0 skipped" in repr(conversion_report(nn.Linear(1, 1)))
    assert "(the model itself)" in repr(conversion_report(nn.Conv2d(1, 1, 3)))


# Optimizer groups


def test_each_trainable_parameter_is_in_exactly_one_group():
    model = convert(net(), centers=True)
    model.head.requires_grad_(False)
    model.tied = nn.Conv2d(8, 8, 1, bias=False)
    model.tied.weight = model.mix.weight
    groups = param_groups(model, lr=0.1, weight_decay=0.05, twist_lr_scale=3.0)
    listed = [id(p) for g in groups for p in g["params"]]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(p) for p in model.parameters() if p.requires_grad}
    by_name = {g["name"]: g for g in groups}
    names = {id(p): n for n, p in model.named_parameters()}
    assert {names[id(p)] for p in by_name["decay"]["params"]} == {
        "stem.weight", "body.0.weight", "body.2.weight", "mix.weight", "up.weight"}
    assert {names[id(p)].split(".")[-1] for p in by_name["twist"]["params"]} == {"twist", "center"}
    assert len(by_name["twist"]["params"]) == 6
    assert {n: (g["weight_decay"], round(g["lr"], 6)) for n, g in by_name.items()} == {
        "decay": (0.05, 0.1), "no_decay": (0.0, 0.1), "twist": (0.0, 0.3)}


def test_groups_train_and_only_the_scaled_one_moves_further():
    layer = convert(nn.Conv2d(3, 4, 3))
    groups = param_groups(layer, lr=1e-3, twist_lr_scale=10.0, weight_decay=0.0)
    optimizer = torch.optim.Adam(groups)
    weight = layer.weight.detach().clone()
    layer(torch.randn(2, 3, 8, 8)).square().sum().backward()
    optimizer.step()  # Adam's first step is the learning rate, whatever the gradient
    assert (layer.weight - weight).abs().max().item() == pytest.approx(1e-3, rel=0.02)
    assert layer.twist.abs().max().item() == pytest.approx(1e-2, rel=0.02)


def test_groups_leave_the_learning_rate_to_the_optimizer():
    groups = param_groups(nn.Sequential(nn.Conv2d(3, 4, 3), nn.LayerNorm([4, 6, 6])))
    assert [g["name"] for g in groups] == ["decay", "no_decay"]
    assert all("lr" not in g for g in groups)
    assert len(groups[1]["params"]) == 3  # the norm's weight has three axes, and is no weight to decay
    assert torch.optim.SGD(groups, lr=0.3).param_groups[0]["lr"] == 0.3


@pytest.mark.parametrize(("options", "message"), [
    ({"twist_lr_scale": 2.0}, "give lr as well"),
    ({"lr": -1.0}, "lr must not be negative"),
    ({"weight_decay": float("nan")}, "weight_decay must not be negative"),
])
def test_groups_refuse_what_makes_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        param_groups(net(), **options)


@pytest.mark.parametrize("change", [
    lambda layer: nn.utils.parametrizations.weight_norm(layer, "twist"),
    lambda layer: prune.l1_unstructured(layer, "twist", 0.5),
], ids=["normalised", "pruned"])
def test_a_twist_in_disguise_is_a_twist(change):
    layer = ConvTwist2d(3, 4, centers=True)
    change(layer)
    groups = {group["name"]: group["params"] for group in param_groups(layer)}
    ordinary = {id(layer.weight), id(layer.bias)}
    assert {id(p) for p in groups["twist"]} == {id(p) for p in layer.parameters()} - ordinary
    assert sum(map(len, groups.values())) == len(list(layer.parameters()))


TRACERS = {
    "fx": torch.fx.symbolic_trace,
    "export": lambda model: torch.export.export(model, (torch.rand(2, 3, 8, 8),)).module(),
    "jit": lambda model: torch.jit.trace(model, torch.rand(2, 3, 8, 8)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tracer", TRACERS)
def test_a_traced_twist_is_a_twist(tracer):
    """A tracer keeps the parameters and their names, not the class."""
    model = nn.Sequential(nn.Sequential(ConvTwist2d(3, 4, centers=True)), nn.ReLU(), nn.Conv2d(4, 4, 3))
    traced = nn.Sequential(TRACERS[tracer](model), ConvTwist2d(4, 4))
    names = {id(parameter): name for name, parameter in traced.named_parameters()}
    groups = {group["name"]: {names[id(p)] for p in group["params"]} for group in param_groups(traced)}
    assert groups["twist"] == {"0.0.0.twist", "0.0.0.center", "1.twist"}
    assert groups["decay"] == {"0.0.0.weight", "0.2.weight", "1.weight"}
    report = conversion_report(traced)
    assert [(r.names[0], r.kind, r.twist) for r in report.swapped] == [
        ("0.0.0", "ConvTwist2d, traced", 2 * 4 * 3 + 2 * 4), ("1", "ConvTwist2d", 2 * 4 * 4)]
    with pytest.raises(ValueError, match=r"0.* was traced .* revert first|0 is a ScriptModule"):
        revert(traced, drop_twist=True)
    for layer in (model, nn.Sequential(IsoTwist2d(3, 4))):
        with pytest.raises(ValueError, match=r"0.* was traced .* rescale the model first, trace it afterwards"):
            rescale_twists(nn.Sequential(TRACERS[tracer](layer), ConvTwist2d(4, 4)), 2.0)


def test_a_traced_twist_in_disguise_is_a_twist():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(ConvTwist2d(3, 4), "twist"))
    groups = {group["name"]: group["params"] for group in param_groups(torch.fx.symbolic_trace(model))}
    assert len(groups["twist"]) == 2 and len(groups["decay"]) == 1


def test_a_layer_that_a_tracer_kept_is_no_traced_one():
    class Keeps(torch.fx.Tracer):
        def is_leaf_module(self, m, module_qualified_name):
            return isinstance(m, ConvTwist2d) or super().is_leaf_module(m, module_qualified_name)

    model = nn.Sequential(ConvTwist2d(3, 4), nn.ReLU())
    traced = torch.fx.GraphModule(model, Keeps().trace(model))
    torch.testing.assert_close(rescale_twists(traced, 2.0).get_submodule("0").twist, 2 * model[0].twist)
    plain = torch.fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv1d(4, 4, 4)))
    assert not conversion_report(plain).swapped


def test_a_scheduler_with_a_learning_rate_for_each_group_keeps_their_ratio():
    """As the docstring of param_groups says."""
    optimizer = torch.optim.AdamW(param_groups(ConvTwist2d(3, 4), lr=0.01, twist_lr_scale=3))
    paces = [group["lr"] for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, paces, total_steps=10)
    for _ in range(9):
        assert optimizer.param_groups[-1]["lr"] == pytest.approx(3 * optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


def test_a_model_that_cannot_be_copied_says_why():
    """PyTorch's own words are 'Only Tensors created explicitly by the user'."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    prune.random_unstructured(model[1], "weight", 0.5)
    model(torch.rand(1, 3, 8, 8))
    for change in (convert, revert):
        with pytest.raises(ValueError, match=r"1\.weight is computed from other parameters .*inplace=True"):
            change(model)
    assert isinstance(convert(model, inplace=True)[0], ConvTwist2d) and type(model[1]) is nn.Conv2d
    kept = nn.Sequential(ConvTwist2d(3, 4, twist_init="zeros"))
    kept.features = [kept(torch.rand(1, 3, 8, 8))]
    for change in (convert, revert, lambda each: rescale_twists(each, 2.0)):
        with pytest.raises(ValueError, match=r"features is computed .*kept from a forward pass.*inplace=True"):
            change(kept)
    kept.features = (each for each in "a generator")
    with pytest.raises(ValueError, match=r"cannot be copied \(TypeError: cannot pickle 'generator'.*inplace=True"):
        convert(kept)


def test_groups_of_a_lazy_layer_have_to_wait():
    with pytest.raises(ValueError, match="run one batch"):
        param_groups(nn.Sequential(nn.LazyConv2d(4, 3)))


def test_the_functions_are_on_the_front_page():
    assert convtwist.convert is convert and callable(convtwist.convert)
    assert {"convert", "revert", "conversion_report", "param_groups"} <= set(convtwist.__all__)


@pytest.mark.parametrize("deviation", [0.0, 0.02, 1.0])
def test_a_random_start_is_in_proportion_to_the_layers_own_weights(deviation):
    """Version 2 draws the factors of Sobel, eight times our derivative, as large as the weights are."""
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 64, 3)
    nn.init.normal_(conv.weight, std=deviation)
    for operators in ("similarity", "affine"):
        twist = convert(conv, twist_init="normal", operators=operators).twist.detach()
        assert twist.std().item() == pytest.approx(8 * deviation, rel=0.03)
    assert convert(nn.Conv2d(4, 4, 3, device="meta"), twist_init="normal").twist.is_meta
