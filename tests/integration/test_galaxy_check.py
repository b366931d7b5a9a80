"""`lpmx galaxy check`: a job as Galaxy would start it, with the programs that `init` wrote."""

from __future__ import annotations

import json

from support.fakegpu import build_driver

NO_GPU = {"LPMX_DRIVER_ROOT": "/nowhere", "LPMX_CDI_DIRS": "/nowhere"}


def findings(store, *words, cwd, status=0, env=None):
    done = store("galaxy", "check", *words, "--json", check=False, cwd=cwd, env=env)
    assert done.returncode == status, done.stdout + done.stderr
    return {one["what"]: one for one in json.loads(done.stdout)}


def test_check_passes_where_all_is_well(store, busybox_image, tmp_path):
    store("galaxy", "init", tmp_path / "site")
    found = findings(store, tmp_path / "site", busybox_image, cwd=tmp_path)
    problems = [one for one in found.values() if one["verdict"] == "problem"]
    assert problems == []
    for front in ("docker", "singularity"):
        assert found[f"{front}: read-only binds"]["verdict"] == "ok"
        assert found[f"{front}: HOME"]["detail"] == "the job's own"
    assert found["image: shell"]["verdict"] == "note"  # busybox has no bash


def test_check_says_whether_a_job_gets_gpus(store, image, tmp_path):
    store("galaxy", "init", tmp_path / "site")
    demo = image("demo")
    found = findings(store, tmp_path / "site", demo, cwd=tmp_path, env=NO_GPU)
    assert found["GPU"]["verdict"] == "note"
    assert "GPU" in found["GPU"]["detail"]
    driver = {"LPMX_DRIVER_ROOT": str(build_driver(tmp_path / "driver"))}
    found = findings(store, tmp_path / "site", demo, cwd=tmp_path, env=NO_GPU | driver)
    assert found["GPU"]["verdict"] == "ok"


def test_check_says_what_is_missing(store, busybox_image, tmp_path):
    found = findings(store, tmp_path / "nothing", busybox_image, cwd=tmp_path, status=1)
    assert "lpmx galaxy init" in found["programs"]["advice"]
    store("galaxy", "init", tmp_path / "site")
    found = findings(store, tmp_path / "site", "localhost:1/no/such:image", cwd=tmp_path, status=1)
    assert "no such image" in found["image"]["detail"]
    assert found["image"]["advice"]
