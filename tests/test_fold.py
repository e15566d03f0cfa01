"""convtwist.fold_batch_norm: exact with every variant; what others fold without the twist is noticed."""

import pytest
import torch
from torch import nn

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


@pytest.mark.parametrize("bias", [True, False])
def test_a_foreign_fold_is_noticed(bias):
    """PyTorch's own, which scales weight and bias alone; right where the twist is zero."""
    norm = nn.BatchNorm2d(8).eval()
    with pytest.raises(RuntimeError, match=r"use convtwist\.fold_batch_norm"):
        torch.nn.utils.fuse_conv_bn_eval(ConvTwist2d(4, 8, bias=bias).eval(), norm)
    plain = nn.Conv2d(4, 8, 3, bias=bias).eval()
    fused, u = torch.nn.utils.fuse_conv_bn_eval(convert(plain), norm), torch.rand(1, 4, 6, 6)
    torch.testing.assert_close(fused(u), norm(plain(u)))


def test_replacing_parameters_for_other_reasons_is_no_fold():
    layer, other = ConvTwist2d(4, 8), ConvTwist2d(4, 8)
    layer.weight = other.weight  # tied
    layer.load_state_dict(other.state_dict(), assign=True)
    layer.bias = nn.Parameter(torch.zeros(8))
    assert not layer.bias.any()
