"""Jobs submitted from inside a container run inside it again: real Slurm and real Grid Engine."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from support import busybox
from support.lpmx import Completed, Lpmx
from support.sge import GridEngine
from support.slurm import Slurm
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.cluster import Cluster

INSIDE = "test -e /srv/mark && echo inside"  # /srv/mark is written by the submitting program


@dataclass(frozen=True)
class Site:
    """A batch system, a store with the tiny image, and a folder to submit from."""

    store: Lpmx
    cluster: Cluster
    work: Path
    system: str

    def run(self, script: str, *options: str, **more: object) -> Completed:
        """Run @script in a new container that submits to the system."""
        env = self.cluster.env | {"SECRET_OF_THE_HOST": "x"}
        text = f"echo written > /srv/mark; {script}"
        words = ("run", "--batch", self.system, *options, "busybox:test", "sh", "-c", text)
        return self.store(*words, cwd=self.work, env=env, **more)  # type: ignore[arg-type]

    def text(self, name: str) -> str:
        """What is in a file of the folder, once it is there: the spool may lag behind."""
        path = self.work / name
        return until(lambda: path.exists() and path.read_text(), what=f"{name} written") or ""

    def containers(self) -> list[dict[str, Any]]:
        """What `lpmx ps -a` shows."""
        found: list[dict[str, Any]] = json.loads(self.store("--json", "ps", "-a").stdout)
        return found

    def container_of(self, number: str) -> str:
        """The container that has job @number."""
        host = f"{self.system} job {number}"
        ids = [row["id"] for row in self.containers() if host in [r["host"] for r in row["runs"]]]
        assert len(ids) == 1, self.containers()
        return str(ids[0])

    def wait_until_gone(self, container: str) -> None:
        """Collect garbage until @container, whose jobs end, is not there any more."""

        def gone() -> bool:
            self.store("gc")
            return container not in [row["id"] for row in self.containers()]

        until(gone, what="the container removed", timeout=60)

    def write(self, name: str, text: str) -> None:
        (self.work / name).write_text(text)


@pytest.fixture(scope="module")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Lpmx:
    if not busybox.available():
        pytest.skip("no static busybox on this machine (Debian: busybox-static)")
    folder = tmp_path_factory.mktemp("batch")
    store = Lpmx(folder / "store")
    store("load", busybox.write_archive(folder / "busybox.tar"))
    return store


@pytest.fixture(scope="module")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with Slurm(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def sge_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GridEngine]:
    with GridEngine(tmp_path_factory.mktemp("sge")) as cluster:
        yield cluster


@pytest.fixture
def slurm(tiny_store: Lpmx, slurm_cluster: Slurm, tmp_path: Path) -> Site:
    return Site(tiny_store, slurm_cluster, tmp_path, "slurm")


@pytest.fixture
def sge(tiny_store: Lpmx, sge_cluster: GridEngine, tmp_path: Path) -> Site:
    return Site(tiny_store, sge_cluster, tmp_path, "sge")


# ---- Slurm


def test_a_job_of_a_store_behind_a_link_leaves_the_layers_alone(slurm: Site) -> None:
    (slurm.work / "lnk").symlink_to(slurm.store.home.parent)
    behind = replace(slurm, store=Lpmx(slurm.work / "lnk" / slurm.store.home.name))
    files = sorted(slurm.store.home.glob("layers/*/fs/etc/*"))
    before = [(path.name, path.read_bytes(), path.lstat().st_ctime_ns) for path in files]
    slurm.write(
        "job.sh",
        "#!/bin/sh\n#SBATCH -o out.txt\n"
        "cd /etc; echo changed >>marker; rm group; mkdir new; pwd; tail -n1 marker; ls\n",
    )
    behind.run("sbatch -W job.sh")
    said = slurm.text("out.txt").split()
    assert said[:2] == ["/etc", "changed"]
    assert "new" in said
    assert "group" not in said
    files = sorted(slurm.store.home.glob("layers/*/fs/etc/*"))
    assert [(path.name, path.read_bytes(), path.lstat().st_ctime_ns) for path in files] == before


def test_sbatch_brings_a_script_back_with_arguments_and_status(slurm: Site) -> None:
    slurm.write(
        "job.sh",
        "#!/bin/sh\n#SBATCH -o out.txt -J mine\n"
        f"{INSIDE}\n"
        'printf "[%s]" "$@" "$SLURM_JOB_NAME" "$MARK" "${SECRET_OF_THE_HOST-hidden}" "$PWD"\n'
        "exit 3\n",
    )
    done = slurm.run('MARK=m sbatch --wait job.sh "a  b" "\\$x"; echo status $?')
    assert done.stdout.splitlines()[-1] == "status 3", done
    assert slurm.text("out.txt") == f"inside\n[a  b][$x][mine][m][hidden][{slurm.work}]"


def test_sbatch_from_stdin_wrap_and_chdir(slurm: Site) -> None:
    (slurm.work / "sub").mkdir()
    slurm.run(
        f"printf '#!/bin/sh\\n{INSIDE}; pwd\\n' | sbatch --wait -o in.txt -D sub;"
        f"sbatch --wait -o wrap.txt --wrap '{INSIDE}; echo $SLURM_JOB_NAME'"
    )
    assert slurm.text("sub/in.txt") == f"inside\n{slurm.work}/sub\n"
    assert slurm.text("wrap.txt") == "inside\nwrap\n"


def test_sbatch_arrays_and_dependencies(slurm: Site) -> None:
    slurm.run(
        "id=$(sbatch --parsable -a 1-3 -o 'a%a.txt'"
        " --wrap 'echo task $SLURM_ARRAY_TASK_ID >> /srv/mark');"
        "sbatch --wait -d afterok:$id -o after.txt --wrap 'sort /srv/mark'"
    )
    assert slurm.text("after.txt") == "task 1\ntask 2\ntask 3\nwritten\n"


def test_sbatch_export_decides_about_variables(slurm: Site) -> None:
    show = 'echo "${A-no} ${B-no} $FROM_IMAGE"'
    slurm.run(
        "export A=1 B=2;"
        f"sbatch --wait -o all.txt --wrap '{show}';"
        f"sbatch --wait -o none.txt --export=NONE --wrap '{show}';"
        f"sbatch --wait -o some.txt --export=A,B=x --wrap '{show}'"
    )
    texts = [slurm.text(f"{name}.txt") for name in ("all", "none", "some")]
    assert texts == ["1 2 yes\n", "no no yes\n", "1 x yes\n"]


def test_srun_runs_on_two_nodes_and_keeps_the_status(slurm: Site) -> None:
    done = slurm.run(f"srun -N2 -l sh -c '{INSIDE}'; srun -Q sh -c 'exit 7'; echo status $?")
    assert sorted(done.stdout.splitlines()) == ["0: inside", "1: inside", "status 7"]


def test_salloc_runs_its_command_inside(slurm: Site) -> None:
    done = slurm.run(f"salloc -Q -n1 sh -c '{INSIDE}; srun echo step'")
    assert done.stdout.splitlines() == ["inside", "step"]


def test_a_job_may_submit_another(slurm: Site) -> None:
    slurm.run(
        "sbatch --wait -o first.txt --wrap 'sbatch --wait -o second.txt --wrap \"cat /srv/mark\"'"
    )
    assert slurm.text("second.txt") == "written\n"


def test_the_other_commands_are_the_hosts(slurm: Site) -> None:
    done = slurm.run("sinfo -h -o %D; squeue -h | wc -l; command -v scancel")
    nodes, jobs, path = done.stdout.split()
    assert (nodes, jobs) == ("2", "0")
    assert path.endswith("/scancel")


def test_an_ephemeral_container_waits_for_its_jobs(slurm: Site) -> None:
    done = slurm.run("sbatch -H --parsable -o late.txt --wrap 'cat /srv/mark'")
    number = done.stdout.strip()
    row = slurm.container_of(number)
    slurm.store("gc")
    refused = slurm.store("rm", row, check=False)
    assert f"slurm job {number}" in refused.stderr
    slurm.cluster.run("scontrol", "release", number)
    assert slurm.text("late.txt") == "written\n"
    slurm.wait_until_gone(row)


def test_removing_a_container_by_force_ends_its_jobs(slurm: Site) -> None:
    number = slurm.run("sbatch --parsable -o long.txt --wrap 'sleep 1000'").stdout.strip()
    slurm.store("rm", "-f", slurm.container_of(number), env=slurm.cluster.env)
    until(lambda: not slurm.cluster.run("squeue", "-h", "-j", number), what="the job ended")
    assert number not in json.dumps(slurm.containers())


def test_what_cannot_come_back_is_said(slurm: Site) -> None:
    done = slurm.run("sbatch -o /opt/o --wrap true; sbatch nothing.sh; echo $?")
    assert "lpmx: sbatch: --output /opt/o: a path of the container alone" in done.stderr
    assert f"lpmx: sbatch: {slurm.work}/nothing.sh: no such file in the container" in done.stderr
    assert done.stdout == "125\n"


def test_scripts_of_the_image_and_of_the_upper_can_be_submitted(slurm: Site) -> None:
    slurm.run(
        "mkdir -p /opt/x; printf '#!/bin/sh\\necho from upper\\n' > /opt/x/j;"
        "ln -s x/j /opt/link; sbatch --wait -o u.txt /opt/link"
    )
    assert slurm.text("u.txt") == "from upper\n"


def test_an_environment_file_says_batch(slurm: Site) -> None:
    slurm.write("e.yaml", "image: busybox:test\nbatch: auto\n")
    words = ("sbatch", "--wait", "-o", "e.txt", "--wrap", "ls /srv; echo $FROM_IMAGE")
    slurm.store("run", "e.yaml", *words, cwd=slurm.work, env=slurm.cluster.env)
    assert slurm.text("e.txt").splitlines()[-1] == "yes"


# ---- Grid Engine


def test_qsub_brings_a_script_back_with_arguments_and_status(sge: Site) -> None:
    sge.write(
        "job.sh",
        "#!/bin/csh\n#$ -S /bin/sh\n#$ -cwd -j y -o out.txt -N mine\n"
        f"{INSIDE}\n"
        'printf "[%s]" "$@" "$JOB_NAME" "${MARK-unset}" "$PWD"\nexit 3\n',
    )
    done = sge.run('MARK=m qsub -sync y job.sh "a  b" "\\$x"; echo status $?')
    assert done.stdout.splitlines()[-1] == "status 3", done
    assert sge.text("out.txt") == f"inside\n[a  b][$x][mine][unset][{sge.work}]"


def test_qsub_binary_jobs_are_read_by_a_shell_as_grid_engine_does(sge: Site) -> None:
    sge.run(
        f"qsub -sync y -cwd -j y -o sh.txt -b y '{INSIDE};' echo 'a  b' '$QUEUE';"
        "export MARK=m;"
        "qsub -sync y -cwd -j y -o no.txt -V -b y -shell n printf '[%s]' 'a  b' '$MARK'"
    )
    assert sge.text("sh.txt") == "inside\na b all.q\n"
    assert sge.text("no.txt") == "[a  b][$MARK]"


def test_qsub_from_stdin_arrays_holds_and_variables(sge: Site) -> None:
    sge.run(
        "export A=1; echo 'echo task $SGE_TASK_ID $A $B >> /srv/mark' |"
        "  qsub -N arr -cwd -j y -o /dev/null -t 1-3 -v A,B=2;"
        "qsub -sync y -hold_jid arr -cwd -j y -o after.txt -b y sort /srv/mark"
    )
    assert sge.text("after.txt") == "task 1 1 2\ntask 2 1 2\ntask 3 1 2\nwritten\n"


def test_qrsh_runs_its_command_inside(sge: Site) -> None:
    done = sge.run(f"qrsh -cwd '{INSIDE}; pwd; exit 5'; echo status $?")
    assert done.stdout.split() == ["inside", str(sge.work), "status", "5"]


def test_the_other_commands_of_grid_engine_are_the_hosts(sge: Site) -> None:
    done = sge.run("qstat -f | grep -c all.q; qhost | grep -c lx-; qconf -sql")
    assert done.stdout.split() == ["1", "1", "all.q"]


def test_a_job_of_grid_engine_may_submit_another(sge: Site) -> None:
    sge.run(
        "printf 'qsub -sync y -cwd -j y -o second.txt -b y cat /srv/mark\\n' |"
        " qsub -sync y -cwd -j y -o first.txt"
    )
    assert sge.text("second.txt") == "written\n"


def test_a_system_that_is_down_is_said_by_its_own_command(sge: Site) -> None:
    env = sge.cluster.env | {"SGE_QMASTER_PORT": "1"}
    words = ("run", "--batch", "sge", "busybox:test", "sh", "-c", "qsub -b y true; echo $?")
    done = sge.store(*words, cwd=sge.work, env=env)
    assert done.stdout == "1\n"
    assert "error: " in done.stderr
    assert [row for row in sge.containers() if "echo $?" in " ".join(row["command"])] == []


def test_a_finished_job_of_grid_engine_lets_its_container_go(sge: Site) -> None:
    done = sge.run("qsub -terse -cwd -j y -o quick.txt -b y 'sleep 1; cat /srv/mark'")
    container = sge.container_of(done.stdout.strip())
    assert sge.text("quick.txt") == "written\n"
    sge.wait_until_gone(container)


def test_a_named_container_can_be_removed_when_its_jobs_have_ended(sge: Site) -> None:
    sge.run("qsub -sync y -cwd -o /dev/null -j y -b y 'cat /srv/mark'", "--name", "ended")

    def removed() -> bool:
        return sge.store("rm", "ended", check=False).returncode == 0

    until(removed, what="the container removed")


# ---- PBS and LSF: a server that only writes down what it gets, and runs it


FAKE = """#!/bin/sh
# Takes a submission as {name} does, writes it down, and runs its script at once.
printf '%s\\n' "$@" > "{folder}/argv"
for last; do :; done
{run}
echo "{answer}"
"""


def fake(folder: Path, name: str, run: str, answer: str) -> None:
    path = folder / name
    path.write_text(FAKE.format(name=name, folder=folder, run=run, answer=answer))
    path.chmod(0o755)


def submit_to_fake(store: Lpmx, work: Path, system: str, script: str) -> Completed:
    env = {"PATH": f"{work}:{os.environ['PATH']}"}
    text = f"echo written > /srv/mark; {script}"
    words = ("run", "--batch", system, "busybox:test", "sh", "-c", text)
    return store(*words, cwd=work, env=env)


def test_pbs_scripts_come_back(tiny_store: Lpmx, tmp_path: Path) -> None:
    run = f'cd / && env -i PBS_JOBID=9 sh "$last" > "{tmp_path}/out" 2>&1'
    fake(tmp_path, "qsub", run, "9.server")
    fake(tmp_path, "pbsnodes", "", "")
    fake(tmp_path, "qstat", 'echo "qstat: Unknown Job Id $1" >&2; exit 153', "")
    (tmp_path / "j.sh").write_text(f"#!/bin/sh\n#PBS -N x -V\n{INSIDE}; echo $MARK $PBS_JOBID\n")
    done = submit_to_fake(
        tiny_store, tmp_path, "pbs", "MARK=m qsub -l nodes=1 j.sh; qstat 9 || echo $?"
    )
    assert done.stdout == "9.server\n153\n"
    assert (tmp_path / "out").read_text() == "inside\nm 9\n"
    tiny_store("gc", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})


def test_lsf_commands_and_scripts_come_back(tiny_store: Lpmx, tmp_path: Path) -> None:
    run = (
        f'if [ "$1" = -J ]; then env -i LSB_JOBID=9 sh -c "$last" > "{tmp_path}/out" 2>&1\n'
        f'else env -i LSB_JOBID=9 sh > "{tmp_path}/out2" 2>&1; fi'
    )
    fake(tmp_path, "bsub", run, "Job <9> is submitted to default queue <normal>.")
    fake(tmp_path, "bjobs", "echo DONE; exit 0", "")
    done = submit_to_fake(
        tiny_store, tmp_path, "lsf",
        f"MARK=m bsub '{INSIDE};' echo '$MARK' '$LSB_JOBID';"
        f"printf '#BSUB -q q\\n{INSIDE}; echo script\\n' | bsub",
    )  # fmt: skip
    assert done.stdout.count("Job <9>") == 2
    assert (tmp_path / "out").read_text() == "inside\nm 9\n"
    assert (tmp_path / "out2").read_text() == "inside\nscript\n"
    tiny_store("gc", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})


def test_a_system_that_is_not_here_is_said(tiny_store: Lpmx, tmp_path: Path) -> None:
    done = tiny_store(
        "run", "--batch", "lsf", "busybox:test", "true", check=False, env={"PATH": "/usr/bin:/bin"}
    )
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("lpmx: batch: lsf: there is no bsub on the PATH of this host")
    quiet = tiny_store("run", "--batch", "auto", "busybox:test", "echo", "fine", cwd=tmp_path,
                       env={"PATH": str(tmp_path)})  # fmt: skip
    assert quiet.stdout == "fine\n"
