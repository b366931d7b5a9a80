"""Programs of all kinds run unmodified: dynamic and static, glibc, musl and Go, compilers."""

# ruff: noqa: E501
# The long lines are programs in other languages.
from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.lpmx import Completed, Lpmx

if TYPE_CHECKING:
    from pathlib import Path

Image = Callable[[str], str]
Run = Callable[..., Completed]


def shell(run_lpmx: Run, image: str, script: str, **options: object) -> str:
    """What `bash -c SCRIPT` prints in a container of @image."""
    return run_lpmx("run", image, "bash", "-c", script, **options).stdout


@pytest.fixture
def tools(image: Image, run_lpmx: Run) -> Callable[..., str]:
    name = image("tools")
    return lambda *command, **options: run_lpmx("run", name, *command, **options).stdout


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder in which run_lpmx starts programs, seen at the same path in the container."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    return folder


def test_the_container_shows_its_own_files(tools: Callable[..., str]) -> None:
    assert tools("cat", "/etc/lpmx-image") == "tools\n"


def test_bash_runs_pipelines_and_subshells(tools: Callable[..., str]) -> None:
    script = (
        'x=$(cat /etc/lpmx-image); (cd /usr && pwd); seq 100 | sort -rn | head -1; echo "$x" $BASH'
    )
    assert tools("bash", "-c", script) == "/usr\n100\ntools /usr/bin/bash\n"


def test_dash_reads_a_script_from_standard_input(tools: Callable[..., str]) -> None:
    script = "cd /etc; for f in lpmx-im*; do cat $f; done; test -x /bin/dash && echo yes\n"
    assert tools("dash", text=script) == "tools\nyes\n"


def test_static_busybox_starts_applets_and_dynamic_programs(tools: Callable[..., str]) -> None:
    script = "cat /etc/lpmx-image; busybox cat /etc/lpmx-image; /usr/bin/perl -e 'print -s $^X > 0, qq(\\n)'"
    assert tools("busybox", "sh", "-c", script) == "tools\ntools\n1\n"


def test_static_bash_at_another_path_and_its_children_see_the_image(
    tools: Callable[..., str],
) -> None:
    script = "read -r x < /etc/lpmx-image; echo $x; cat /etc/lpmx-image; ls /opt/static/bin"
    assert tools("/opt/static/bin/bash", "-c", script) == "tools\ntools\nbash\n"


def test_perl_walks_directories_and_starts_programs(tools: Callable[..., str]) -> None:
    program = (
        "use File::Find; my $n = 0; find(sub { $n++ if /\\.pm$/ }, '/usr/share/perl'); "
        "print $n > 100 ? 'many' : $n, ' ', `cat /etc/lpmx-image`; "
        "open my $f, '<', '/etc/lpmx-image' or die; print <$f>; print -l '/bin' ? 'link' : 'not', qq(\\n)"
    )
    assert tools("perl", "-e", program) == "many tools\ntools\nlink\n"


def test_python_imports_spawns_and_uses_threads(tools: Callable[..., str]) -> None:
    program = """
import glob, json, os, subprocess, sys, tempfile, threading
results = []
def work(number):
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write(str(number)); file.flush()
        results.append(int(open(file.name).read()) == number)
threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
for t in threads: t.start()
for t in threads: t.join()
print(json.dumps({
    "executable": sys.executable, "threads": sum(results), "image": open("/etc/lpmx-image").read(),
    "child": subprocess.run(["cat", "/etc/lpmx-image"], capture_output=True, text=True).stdout,
    "many": len(glob.glob("/usr/lib/python3*/*.py")) > 100, "real": os.path.realpath("/bin/sh"),
}))
"""
    assert json.loads(tools("python3", "-c", program)) == {
        "executable": "/usr/bin/python3",
        "threads": 20,
        "image": "tools\n",
        "child": "tools\n",
        "many": True,
        "real": "/usr/bin/dash",
    }


def test_gcc_compiles_and_the_result_runs(tools: Callable[..., str], work: Path) -> None:
    (work / "hello.c").write_text(
        '#include <stdio.h>\nint main(void) { FILE *f = fopen("/etc/lpmx-image", "r"); char b[9] = "";'
        ' if (f && fgets(b, 9, f)) printf("hello from %s", b); return 3; }\n'
    )
    script = (
        "gcc -O2 -o hello hello.c && ./hello; echo $?; gcc -static -o static hello.c && ./static"
    )
    assert tools("bash", "-c", script, check=False) == "hello from tools\n3\nhello from tools\n"
    assert (work / "hello").stat().st_mode & 0o111


def test_make_runs_parallel_jobs(tools: Callable[..., str], work: Path) -> None:
    (work / "Makefile").write_text(
        "all: a b c d\n\tcat a b c d | sort | uniq -c | tr -s ' '\na b c d:\n\tcp /etc/lpmx-image $@\n"
    )
    assert tools("make", "-s", "-j4") == " 4 tools\n"


def test_git_commits_clones_and_checks_out(tools: Callable[..., str]) -> None:
    script = """
set -e
mkdir /srv/git && cd /srv/git && git init -q -b main one && cd one
git config user.name tester && git config user.email tester@example.org
for n in 1 2 3; do mkdir -p d$n; echo $n > d$n/file; git add .; git commit -q -m "number $n"; done
git mv d1 renamed && git commit -q -m rename
cd .. && git clone -q one two && cd two && git checkout -q HEAD~1 && ls && git log --oneline | wc -l
git fsck --full
"""
    assert tools("bash", "-c", script) == "d1\nd2\nd3\n3\n"


def test_tar_packs_a_layer_and_unpacks_it_unchanged(tools: Callable[..., str]) -> None:
    script = """
set -e
mkdir /srv/out && tar -C /usr/share -cf - perl perl5 | tar -C /srv/out -xf -
diff -r /usr/share/perl /srv/out/perl
tar -C /usr/share --compare -f <(tar -C /srv/out -cf - perl) && echo same
"""
    assert tools("bash", "-c", script) == "same\n"


def test_find_sees_each_entry_once_and_agrees_with_ls(tools: Callable[..., str]) -> None:
    script = (
        "find /usr/bin | sort | uniq -d | wc -l; "
        "[ $(find /usr/bin -mindepth 1 -maxdepth 1 | wc -l) = $(ls -A /usr/bin | wc -l) ] && echo agree; "
        "find /etc -name lpmx-image -newer /etc/debian_version -exec cat {} +"
    )
    assert tools("bash", "-c", script) == "0\nagree\ntools\n"


def test_r_computes_and_loads_packages(tools: Callable[..., str]) -> None:
    program = (
        'library(stats); library(tools); x <- lm(dist ~ speed, cars); cat(round(coef(x)[[2]], 3), "\\n"); '
        'cat(readLines("/etc/lpmx-image"), system("cat /etc/lpmx-image", intern = TRUE), "\\n")'
    )
    assert tools("Rscript", "-e", program) == "3.932 \ntools tools \n"


def test_bwa_indexes_and_aligns(image: Image, run_lpmx: Run, work: Path) -> None:
    sequence = "".join(random.Random(7).choices("ACGT", k=2000))
    (work / "ref.fa").write_text(f">ref\n{sequence}\n")
    (work / "reads.fq").write_text(f"@read\n{sequence[500:600]}\n+\n{'I' * 100}\n")
    script = "bwa index ref.fa 2> /dev/null && bwa mem ref.fa reads.fq 2> /dev/null | grep -v ^@ | cut -f 1,3,4,6"
    assert shell(run_lpmx, image("demo"), script) == "read\tref\t501\t100M\n"


def test_removed_files_of_lower_layers_are_gone(image: Image, run_lpmx: Run) -> None:
    script = "ls /etc/motd /etc/issue.net 2>&1 | grep -c 'No such file'; ls -A /usr/share/doc; cat /usr/share/common-licenses"
    expected = "2\nREADME\nwas a directory\n"
    assert shell(run_lpmx, image("demo"), script) == expected


def test_hard_links_of_a_layer_stay_links(image: Image, run_lpmx: Run) -> None:
    script = "[ /opt/demo/one -ef /opt/demo/two ] && stat -c %h /opt/demo/one; readlink /opt/demo/bwa-twin"
    assert shell(run_lpmx, image("demo"), script) == "2\n../../usr/bin/bwa\n"


def test_a_script_for_a_static_bin_bash_stays_in_the_container(image: Image, run_lpmx: Run) -> None:
    printed = run_lpmx("run", image("biocontainer"), "script").stdout
    assert re.fullmatch(r"script in biocontainer by bash 5\.[0-9.()]+-release\n", printed), printed


def test_busybox_applets_that_are_hard_links_work(image: Image, run_lpmx: Run) -> None:
    script = "cat /etc/lpmx-image | tr a-z A-Z; ls /usr/local/bin; echo 2+3 | bc 2>/dev/null || expr 2 + 3"
    done = run_lpmx("run", image("biocontainer"), "/bin/sh", "-c", script)
    assert done.stdout == "BIOCONTAINER\ngreet\nscript\n5\n"


def test_a_prefix_finds_its_libraries_relative_to_itself(image: Image, run_lpmx: Run) -> None:
    done = run_lpmx("run", image("biocontainer"), "greet")
    assert done.stdout == "greetings from a prefix in biocontainer\n"


FILES_SAID = """\
create: ok
create again: File exists
stat: ok
size 4, mode 640
link: ok
rename: ok
symlink: ok
readlink: ok
target: three
mkdir: ok
mkdir again: File exists
rename into: ok
rmdir not empty: Directory not empty
entries: 3
chmod: ok
truncate: ok
access: ok
unlink: ok
rmdir: ok
absent: No such file or directory
unlink four: ok
unlink three: ok
entries: 0
"""
SUFFIXES = ("", "-static", "-musl")
PROBES = [
    *(("musl", f"/usr/bin/files{end}", f"/usr/bin/threads{end}") for end in ("", "-static")),
    *(("c-probes", f"/probes/files{end}", f"/probes/threads{end}") for end in SUFFIXES),
]


@pytest.mark.parametrize("folder", ["/srv", "bind"])
@pytest.mark.parametrize(("name", "program"), [(name, files) for name, files, _ in PROBES])
def test_file_calls_of_each_libc(
    image: Image, run_lpmx: Run, work: Path, name: str, program: str, folder: str
) -> None:
    target = str(work) if folder == "bind" else f"{folder}/files"
    command = f"mkdir -p {target} && exec {program} {target}"
    done = run_lpmx("run", image(name), "sh", "-c", command)
    assert done.stdout == f"image: {name}\ncwd: {target}\n{FILES_SAID}"


@pytest.mark.parametrize(("name", "program"), [(name, threads) for name, _, threads in PROBES])
def test_threads_on_small_stacks_work_on_files(
    image: Image, run_lpmx: Run, work: Path, name: str, program: str
) -> None:
    done = run_lpmx(
        "run", image(name), program, "/var" if name == "c-probes" else str(work), "40", "25"
    )
    assert done.stdout == "threads 40 rounds 25 errors 0\n", done.stderr


def test_goroutines_work_on_files_of_the_upper_layer(image: Image, run_lpmx: Run) -> None:
    done = run_lpmx("run", image("go"), "/var/many", "200", check=False)
    assert done.stdout == 'image "go\\n" <nil>\ngoroutines 200 errors 0\n', done.stderr


def test_goroutines_work_on_files_of_a_bind(image: Image, run_lpmx: Run, work: Path) -> None:
    done = run_lpmx("run", image("go"), str(work), "200", check=False)
    assert done.stdout == 'image "go\\n" <nil>\ngoroutines 200 errors 0\n', done.stderr


def test_goroutines_of_many_containers_at_once_never_hang(
    image: Image, store: Lpmx, work: Path
) -> None:
    name = image("go")

    def run_one(number: int) -> str:
        folder = work / str(number)
        folder.mkdir()
        return store("run", name, str(folder), "100", cwd=work, check=False, timeout=60).stdout

    with ThreadPoolExecutor(4) as pool:
        printed = list(pool.map(run_one, range(24)))
    assert printed == ['image "go\\n" <nil>\ngoroutines 100 errors 0\n'] * 24


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_hundreds_of_vforks_lose_nothing(image: Image, run_lpmx: Run, suffix: str) -> None:
    done = run_lpmx("run", image("c-probes"), f"/probes/vforks{suffix}", "300", "/bin/true")
    assert done.stdout == "vforks 300 failures 0\n"


def test_thirty_layers_show_their_union(image: Image, run_lpmx: Run) -> None:
    script = "cat /srv/last; wc -l < /srv/history; ls -x -w 999 -T 0 /srv/depth; ls -d /srv/only-*"
    # Emptied after layer 16, which leaves `again`; later layers add three each and take one two
    # layers below.
    left = [f"{layer}-{each}" for layer in range(17, 32) for each in (1, 2, 3)]
    left = [name for name in left if not (name.endswith("-2") and int(name[:2]) <= 29)]
    union = "  ".join([*left, "again"])
    expected = f"31\n32\n{union}\n/srv/only-29\n/srv/only-30\n/srv/only-31\n"
    assert shell(run_lpmx, image("many-layers"), script) == expected


def test_busy_programs_are_as_documented(
    busybox_image: str, run_lpmx: Callable[..., Completed]
) -> None:
    """docs/limits.md: no ETXTBSY in either direction."""
    script = """
cp /bin/busybox /srv/busybox; cd /srv
exec 3>> busybox; ./busybox echo runs; exec 3>&-
./busybox sleep 60 & : >> busybox && echo opens; kill $!
"""
    assert run_lpmx("run", "--rm", busybox_image, "sh", "-c", script).stdout.split() == [
        "runs",
        "opens",
    ]
