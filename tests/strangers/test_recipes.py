"""The recipes of the chapter on use, run as they stand there: what was saved comes back with its twists."""

import json
import re
import sys
import types
import warnings
from pathlib import Path

import foreign_models  # noqa: F401  # first: it skips this file where the libraries are missing
import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from fastai.vision.all import ImageDataLoaders, Resize
from PIL import Image
from transformers import AutoModelForImageClassification, ResNetConfig, ResNetForImageClassification
from ultralytics import YOLO

from convtwist import ConvTwist2d, convert

torch.set_num_threads(1)
BOOK = Path(__file__).parents[2] / "book"


def recipes():
    """Return the Python blocks of the chapter's section by the headings above them."""
    (chapter,) = BOOK.glob("*_use_it.ipynb")
    cells = json.loads(chapter.read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    section = re.search(r"^## Save and load in other libraries$(.+?)^## ", text, re.MULTILINE | re.DOTALL)[1]
    parts = re.split(r"^### (.+)$", section, flags=re.MULTILINE)[1:]
    return {heading: re.findall(r"^```python\n(.+?)^```", body, re.MULTILINE | re.DOTALL)
            for heading, body in zip(parts[::2], parts[1::2], strict=True)}


RECIPES = recipes()


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Return ``run(heading, **names)``, which runs the blocks as a module of its own and returns that.

    ``module.trained`` holds the twists as ``train(model)`` left them.
    """
    monkeypatch.chdir(tmp_path)

    def run(heading, **names):
        module = types.ModuleType("recipe")  # what it defines can be pickled, as from a file
        monkeypatch.setitem(sys.modules, "recipe", module)

        def train(model):
            torch.manual_seed(1)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            arguments = (torch.randn(2, 3, 32, 32), *names.get("arguments", ()))
            returned = model(*arguments)
            out = returned if isinstance(returned, torch.Tensor) else next(iter(returned.values()))
            out.square().mean().backward()
            optimizer.step()
            module.saved = twists(model)

        vars(module).update(train=train, **names)
        for block in RECIPES[heading]:
            exec(compile(block, f"recipe for {heading}", "exec"), vars(module))
        return module

    return run


def twists(model):
    return {key: value.detach().clone() for key, value in model.state_dict().items() if key.endswith(".twist")}


def back(model, saved):
    """Check that the twists are there again, and that they say something: on a map of one pixel none learns."""
    found = twists(model)
    assert found.keys() == saved.keys() and len(found) > 3
    assert all(torch.equal(found[key], saved[key]) for key in found)
    assert sum(bool(value.any()) for value in found.values()) > 2


def test_the_section_has_all_five():
    assert {heading: len(blocks) for heading, blocks in RECIPES.items()} == {
        "Hugging Face Transformers": 1, "Diffusers": 1, "timm": 1, "fastai": 1, "Ultralytics": 2}


def test_transformers(recipe, tmp_path):
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=2)
    ResNetForImageClassification(config).save_pretrained(tmp_path / "plain")
    module = recipe("Hugging Face Transformers")
    back(module.model, module.saved)
    # What the chapter warns of.
    lost = AutoModelForImageClassification.from_pretrained(tmp_path / "twisted")
    assert not any(isinstance(each, ConvTwist2d) for each in lost.modules())


def test_diffusers(recipe, tmp_path):
    UNet2DModel(sample_size=16, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
                down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
                ).save_pretrained(tmp_path / "plain")
    module = recipe("Diffusers", arguments=(3,))
    back(module.model, module.saved)
    DDPMPipeline(module.model, DDPMScheduler(num_train_timesteps=4)).save_pretrained(tmp_path / "pipeline")
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "pipeline", unet=module.model)
    back(pipeline.unet, module.saved)
    picture = pipeline(num_inference_steps=1, output_type="np").images
    assert picture.shape == (1, 16, 16, 3) and np.isfinite(picture).all()
    lost = DDPMPipeline.from_pretrained(tmp_path / "pipeline")
    assert not any(isinstance(each, ConvTwist2d) for each in lost.unet.modules())


def test_timm(recipe, tmp_path):
    import timm

    module = recipe("timm")
    back(module.model, module.saved)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*twist"):
        timm.create_model("resnet14t", num_classes=2, checkpoint_path=str(tmp_path / "twisted.safetensors"))
    torch.manual_seed(0)
    model = convert(timm.create_model("repvgg_a0", num_classes=2), twist_init="normal").eval()
    merged = timm.utils.reparameterize_model(model)
    assert not twists(merged), "timm keeps twists now; mend the chapter"


def pictures(folder):
    """Write eight small pictures, half of them darker, each kind in a folder of its own."""
    draw = np.random.default_rng(0)
    for k in range(8):
        name = folder / ("dark", "light")[k % 2] / f"{k}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 128 + 127 * (k % 2), (32, 32, 3), dtype=np.uint8)).save(name)


def test_fastai(recipe, tmp_path):
    pictures(tmp_path / "pictures")
    dls = ImageDataLoaders.from_folder(tmp_path / "pictures", valid_pct=0.25, seed=1, bs=4, num_workers=0,
                                       item_tfms=Resize(32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = recipe("fastai", dls=dls)
    state = torch.load(tmp_path / "pictures" / "models" / "twisted.pth", weights_only=False)["model"]
    back(module.learner.model, {key: value for key, value in state.items() if key.endswith(".twist")})
    optimised = {id(p) for group in module.learner.opt.all_params() for p in group[:1]}
    assert all(id(p) in optimised for p in module.learner.model.parameters())


def detection(folder):
    """Write pictures with one box each, and the file that names them."""
    pictures(folder / "all")
    for part in ("train", "val"):
        for k, picture in enumerate(sorted((folder / "all").glob("*/*.png"))):
            for kind in ("images", "labels"):
                (folder / kind / part).mkdir(parents=True, exist_ok=True)
            picture_again = folder / "images" / part / f"{k}.png"
            picture_again.write_bytes(picture.read_bytes())
            (folder / "labels" / part / f"{k}.txt").write_text(f"{k % 2} 0.5 0.5 0.6 0.6\n")
    (folder / "pictures.yaml").write_text(f"path: {folder}\ntrain: images/train\nval: images/val\n"
                                          "names: {0: dark, 1: light}\n")
    (folder / "picture.png").write_bytes((folder / "images" / "train" / "0.png").read_bytes())


def test_ultralytics(recipe, tmp_path):
    detection(tmp_path)
    module = recipe("Ultralytics")
    best = YOLO(module.trained.trainer.best)
    saved = twists(best.model)
    assert len(saved) > 30 and sum(bool(value.any()) for value in saved.values()) > 10
    # Folded to predict, with twists in it that are scaled, it says the same.
    folded, u = module.again.predictor.model.model, torch.rand(1, 3, 64, 64)
    assert len(twists(folded)) == len(saved)
    assert not any(isinstance(each, torch.nn.BatchNorm2d) for each in folded.modules())
    with torch.no_grad():
        torch.testing.assert_close(folded(u)[0], best.model.float().eval()(u)[0], rtol=1e-3, atol=1e-3)
    assert len(module.found) == 1
    # Training goes on from that file with its twists.
    further = module.trained.trainer.get_model("yolov8n.yaml", best.model, verbose=False)
    back(further, saved)
