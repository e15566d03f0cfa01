"""convtwist.show_config: which engine serves, and why not a quicker one, is never a secret."""

import pytest
import torch

import convtwist
from convtwist._engine import cpp, gpu


def test_it_prints_what_it_returns(capsys):
    entries = convtwist.show_config("dicts")
    assert convtwist.show_config() is None
    printed = capsys.readouterr().out
    assert all(name in printed and text in printed for name, text in entries.items())
    assert entries["torch"] == torch.__version__ and entries["convtwist"] == convtwist.__version__
    assert entries["eager"].startswith("fields in blocks") and "GPU" in entries["gpu"]


def test_without_a_compiler_it_says_so_and_what_to_do(monkeypatch):
    monkeypatch.setattr(cpp, "_loaded", lambda: (None, "no C++ compiler works here; install g++"))
    entries = convtwist.show_config("dicts")
    assert "install g++" in entries["compiler"] and "fields in blocks, no C++: no C++ compiler" in entries["compiled"]


def test_without_a_package_that_torch_needs_to_compile_it_says_which(monkeypatch):
    """As torch 2.4 without setuptools."""
    def load(source):
        raise ModuleNotFoundError("No module named 'setuptools'", name="setuptools")

    monkeypatch.setattr("torch._inductor.codecache.CppCodeCache.load", load)
    monkeypatch.setattr(cpp, "_matrix_product", lambda: 0)
    monkeypatch.setattr(cpp, "_loaded", cpp._loaded.__wrapped__)
    entries = convtwist.show_config("dicts")
    assert "No module named 'setuptools'; pip install setuptools" in entries["compiler"]
    assert entries["compiled"].startswith("one operator a layer, fields in blocks, no C++: torch")


def test_without_onednn_it_is_plain(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    entries = convtwist.show_config("dicts")
    assert all(entries[name].startswith("plain PyTorch operations") for name in ("eager", "compiled"))


def test_it_says_whether_a_gpus_kernels_serve_and_why_not(monkeypatch):
    monkeypatch.setattr(gpu, "why_not", lambda: None)
    assert convtwist.show_config("dicts")["gpu"].startswith("GPU kernels in Triton, eager and compiled, for float32")
    monkeypatch.setattr(gpu, "why_not", lambda: "Triton is not installed")
    assert convtwist.show_config("dicts")["gpu"] == (
        "three convolutions for float16, bfloat16 and autocast, plain PyTorch operations for other types; not the GPU "
        "kernels: Triton is not installed")


def test_another_mode_is_refused():
    with pytest.raises(ValueError, match="mode must be 'stdout' or 'dicts', got 'json'"):
        convtwist.show_config("json")


def test_every_public_module_is_there_when_named_and_the_old_name_says_where_it_went():
    for name in convtwist.MODULES:
        if name not in ("plot", "train"):  # which need an extra
            assert getattr(convtwist, name).__name__ == f"convtwist.{name}"
    assert set(convtwist.MODULES) <= set(dir(convtwist))
    with pytest.warns(DeprecationWarning, match=r"convtwist\.results\.evidence"):
        assert convtwist.evidence.accuracies
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = convtwist.nonsense


def test_the_gpus_kernels_can_be_switched_off(monkeypatch):
    monkeypatch.setattr(gpu, "triton_missing", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.delenv("CONVTWIST_GPU_ENGINE", raising=False)
    assert gpu.why_not.__wrapped__(0) is None
    monkeypatch.setenv("CONVTWIST_GPU_ENGINE", "0")
    assert gpu.why_not.__wrapped__(0) == "CONVTWIST_GPU_ENGINE=0 says so"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Tesla T4")
    monkeypatch.setenv("CONVTWIST_GPU_ENGINE", "1")
    assert gpu.why_not.__wrapped__(0) == "Tesla T4 has compute capability 7.5, below 8.0"
