"""GPUs: what is asked for, what a specification says, and whether driver and image fit."""

from __future__ import annotations

import json

import pytest

from lpmx_runtime.errors import UsageError
from lpmx_runtime.gpu.cdi import load_registry
from lpmx_runtime.gpu.choose import choose_gpus
from lpmx_runtime.gpu.cuda import check_driver, needed_cuda
from lpmx_runtime.gpu.errors import GpuError
from lpmx_runtime.gpu.host import GpuHost
from lpmx_runtime.gpu.ldcache import CacheEntry, add_libraries, parse_cache
from lpmx_runtime.gpu.nvidia import find_driver
from lpmx_runtime.gpu.request import GpuRequest, parse_request

GPUS = [("0", "GPU-aa"), ("1", "GPU-bb")]

# The example of the specification, shortened.
VENDOR = {
    "cdiVersion": "0.6.0",
    "kind": "vendor.com/device",
    "devices": [
        {
            "name": "myDevice",
            "containerEdits": {
                "deviceNodes": [
                    {"path": "/dev/card1", "type": "c", "major": 25, "minor": 25},
                    {"hostPath": "/vendor/dev/card-render1", "path": "/dev/card-render1"},
                ]
            },
        }
    ],
    "containerEdits": {
        "env": ["FOO=VALID_SPEC", "BAR=BARVALUE1"],
        "mounts": [
            {"hostPath": "/bin/vendorBin", "containerPath": "/bin/vendorBin"},
            {"hostPath": "tmpfs", "containerPath": "/tmp/data", "type": "tmpfs"},
        ],
        "hooks": [{"hookName": "createContainer", "path": "/bin/vendor-hook"}],
    },
}


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("all", GpuRequest(everything=True)),
        ("-1", GpuRequest(everything=True)),
        ("all,capabilities=utility", GpuRequest(everything=True)),
        ("capabilities=compute", GpuRequest(everything=True)),
        ("2", GpuRequest(count=2)),
        ("count=2", GpuRequest(count=2)),
        ("device=0", GpuRequest(devices=("0",))),
        ('"device=0,1"', GpuRequest(devices=("0", "1"))),
        ("GPU-5a1e-x", GpuRequest(devices=("GPU-5a1e-x",))),
        ("MIG-GPU-5a1e/1/0", GpuRequest(devices=("MIG-GPU-5a1e/1/0",))),
        ("nvidia.com/gpu=0", GpuRequest(cdi=("nvidia.com/gpu=0",))),
        ("none", None),
        ("0", None),
        ("", None),
    ],
)
def test_request(text, request_):
    assert parse_request(text) == request_


@pytest.mark.parametrize("text", ["some", "device=x", "all,1", "-2", "1,GPU", "x/y"])
def test_request_refuses(text):
    with pytest.raises(UsageError, match="is not a GPU"):
        parse_request(text)


def test_choice_is_out_of_what_was_granted():
    free = GpuHost(environ={})
    slurm = GpuHost(environ={"CUDA_VISIBLE_DEVICES": "3,5", "NVIDIA_VISIBLE_DEVICES": "7"})
    outer = GpuHost(environ={"NVIDIA_VISIBLE_DEVICES": "GPU-bb"})

    def chosen(text, host):
        return choose_gpus(parse_request(text), GPUS, host).get("CUDA_VISIBLE_DEVICES")

    assert chosen("all", free) is None
    assert chosen("all", slurm) == "3,5"
    assert chosen("1", slurm) == "3"
    assert chosen("all", outer) == "GPU-bb"
    assert chosen("2", free) == "0,1"
    assert chosen("device=1", free) == "1"
    assert chosen("GPU-bb", outer) == "GPU-bb"
    with pytest.raises(GpuError, match="not granted, CUDA_VISIBLE_DEVICES is 3,5"):
        chosen("device=0", slurm)
    with pytest.raises(GpuError, match=r"--gpus 3: there are 2 \(CUDA_VISIBLE_DEVICES is 3,5\)"):
        chosen("3", slurm)
    with pytest.raises(GpuError, match="--gpus 2: there is 1 "):
        chosen("2", outer)
    with pytest.raises(GpuError, match="no such GPU") as caught:
        chosen("device=9", free)
    assert "0 GPU-aa, 1 GPU-bb" in caught.value.hint


def test_needed_cuda():
    assert needed_cuda({"NVIDIA_REQUIRE_CUDA": "cuda>=12.4 brand=tesla,driver>=470"}) == (12, 4)
    assert needed_cuda({"CUDA_VERSION": "11.8.0"}) == (11, 8, 0)
    assert needed_cuda({}) == ()


def test_driver_is_checked_by_major_version():
    def check(driver, compat=False, **env):
        check_driver(driver, env, image="x", has_compat=compat)

    check("525.60.13", CUDA_VERSION="12.9.0")  # minor version compatibility
    check("470.1", CUDA_VERSION="12.4", compat=True)
    check("470.1", CUDA_VERSION="12.4", NVIDIA_DISABLE_REQUIRE="1")
    check("470.1")
    check("", CUDA_VERSION="12.4")
    with pytest.raises(GpuError, match=r"CUDA 12\.4, version 525\.60\.13 or later; .* has 470\.1"):
        check("470.1", CUDA_VERSION="12.4")


def test_cdi_specification_is_read(tmp_path):
    (tmp_path / "vendor.json").write_text(json.dumps(VENDOR))
    edits = load_registry(GpuHost(cdi_dirs=(str(tmp_path),))).edits(["vendor.com/device=myDevice"])
    assert edits.env == {"FOO": "VALID_SPEC", "BAR": "BARVALUE1"}
    assert edits.nodes == (
        ("/dev/card1", "/dev/card1"),
        ("/vendor/dev/card-render1", "/dev/card-render1"),
    )
    assert edits.mounts == (("/bin/vendorBin", "/bin/vendorBin", False),)
    assert edits.notes == (
        "a mount of type tmpfs at /tmp/data is not made",
        "the hook /bin/vendor-hook is not run",
    )


def test_cdi_later_folder_wins_and_a_bad_file_does_not_hide_the_others(tmp_path):
    first, second = tmp_path / "etc", tmp_path / "run"
    for folder, value in ((first, "A=1"), (second, "A=2")):
        folder.mkdir()
        spec = VENDOR | {"containerEdits": {"env": [value]}}
        (folder / "v.yaml").write_text(json.dumps(spec))  # JSON is YAML
    (first / "broken.json").write_text("{")
    (first / "other.yaml").write_text("a: [")
    registry = load_registry(GpuHost(cdi_dirs=(str(first), str(second))))
    assert registry.edits(["vendor.com/device=myDevice"]).env == {"A": "2"}
    assert [text.split(":")[0] for text in registry.problems] == [
        str(first / "broken.json"),
        str(first / "other.yaml"),
    ]
    with pytest.raises(GpuError, match="no CDI specification has this device") as caught:
        registry.edits(["vendor.com/device=other"])
    assert "vendor.com/device=myDevice" in caught.value.hint


def test_no_driver_is_found_in_an_empty_root(tmp_path):
    assert find_driver(GpuHost(root=str(tmp_path))) is None


def test_cache_keeps_its_entries_and_puts_ours_first():
    old = [CacheEntry("libm.so.6", "/lib/libm.so.6"), CacheEntry("libcuda.so.1", "/compat/x")]
    data = add_libraries(add_libraries(b"", old), [CacheEntry("libcuda.so.1", "/lib/libcuda.so.1")])
    assert {entry.name: entry.path for entry in parse_cache(data)} == {
        "libm.so.6": "/lib/libm.so.6",
        "libcuda.so.1": "/lib/libcuda.so.1",
    }


def test_cache_is_in_the_order_of_the_loaders_binary_search():
    names = ["liba.so.9", "liba.so.10", "liba.so", "libab.so", "liba-b.so", "lib0.so"]
    entries = parse_cache(add_libraries(b"", [CacheEntry(name, "/x") for name in names]))
    # A number counts by its value and comes after any other byte; the order is falling.
    assert [entry.name for entry in entries] == [
        "lib0.so", "libab.so", "liba.so.10", "liba.so.9", "liba.so", "liba-b.so",
    ]  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"x", b"glibc-ld.so.cache1.1", b"ld.so-1.7.0\0\xff\xff"])
def test_cache_that_is_none_has_no_entries(data):
    assert parse_cache(data) == []
