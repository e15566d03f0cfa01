"""convtwist.rescale_twists: on a larger map a pixel at the same place, in pixels, gives what it gave."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from convtwist import ConvTwist2d, IsoTwist2d, convert, rescale_twists

torch.set_num_threads(1)

LAYERS = {
    "similarity": lambda: ConvTwist2d(3, 4, padding=1),
    "first order, centres": lambda: ConvTwist2d(3, 4, padding=1, operators="first_order", centers=True),
    "isotropic": lambda: IsoTwist2d(3, 4),
    "isotropic with |grad u|": lambda: IsoTwist2d(3, 4, gradient=True),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("size", [(12, 8), (8, 12)])
def test_a_pixel_of_the_larger_map_is_treated_as_in_the_smaller(name, size):
    torch.manual_seed(0)
    layer = LAYERS[name]().double()
    small = torch.randn(2, 3, *size, dtype=torch.float64)
    height, width = size
    large = torch.zeros(2, 3, 2 * height, 2 * width, dtype=torch.float64)
    middle = ..., slice(height // 2, -(height // 2)), slice(width // 2, -(width // 2))
    large[middle] = small
    before = layer(small)
    torch.testing.assert_close(rescale_twists(layer, 2)(large)[middle], before, rtol=1e-12, atol=1e-12)
    assert (layer(large)[middle] - before).abs().max() > 1e-2, "without it the layer does something else"


def test_a_whole_model_shared_layers_once_and_a_copy_unless_asked():
    twist, iso = ConvTwist2d(4, 4, padding=1, centers=True), IsoTwist2d(4, 4)
    model = nn.Sequential(twist, nn.ReLU(), twist, iso, nn.Conv2d(4, 4, 1))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    larger = rescale_twists(model, 1.5)
    assert larger is not model and larger[0] is larger[2]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name])
    torch.testing.assert_close(larger[0].twist, 1.5 * twist.twist)
    torch.testing.assert_close(larger[0].center, twist.center / 1.5)
    torch.testing.assert_close(larger[3].weight, iso.weight * torch.tensor([1, 1, 1.5, 1.5]))
    assert torch.equal(larger[0].weight, twist.weight) and torch.equal(larger[4].weight, model[4].weight)
    assert rescale_twists(model, 1.5, inplace=True) is model
    torch.testing.assert_close(model.state_dict(), larger.state_dict())
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())
    twists = nn.Sequential(ConvTwist2d(4, 4), ConvTwist2d(4, 4))
    twists[1].twist = twists[0].twist
    torch.testing.assert_close(rescale_twists(twists, 3.0)[1].twist, 3 * twists[0].twist)


@pytest.mark.parametrize(("factor", "error", "words"), [
    (0, ValueError, "factor must be above 0"), (-1.5, ValueError, "got -1.5"), (float("nan"), ValueError, "above 0"),
    (float("inf"), ValueError, "above 0"), ("2", TypeError, "got '2'"), (True, TypeError, "got True"),
])
def test_bad_factors(factor, error, words):
    with pytest.raises(error, match=words):
        rescale_twists(ConvTwist2d(2, 2), factor)


def test_what_cannot_be_rescaled_says_so():
    with pytest.raises(ValueError, match="no ConvTwist2d and no IsoTwist2d"):
        rescale_twists(nn.Sequential(nn.Conv2d(2, 2, 3)), 2)
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module"):
        rescale_twists("model", 2)
    models = [nn.Sequential(ConvTwist2d(2, 2)), nn.Sequential(IsoTwist2d(2, 2))]
    parametrizations.weight_norm(models[0][0], "twist")
    prune.l1_unstructured(models[1][0], "weight", 0.5)
    for model in models:
        with pytest.raises(ValueError, match="is computed from other parameters"):
            rescale_twists(model, 2)


def test_a_converted_model_stays_what_it_is():
    model = convert(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3)))
    u = torch.randn(1, 3, 9, 9)
    assert torch.equal(rescale_twists(model, 2)(u), model(u)), "a zero twist has nothing to rescale"
