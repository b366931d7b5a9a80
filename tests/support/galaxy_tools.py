"""The tools of the tests' Galaxy, as XML: each does what containers often get wrong."""

from __future__ import annotations

OLD = "lpmx-test/biocontainer:latest"  # BioContainers of before 2021
NEW = "lpmx-test/bioconda:latest"  # and of today
PYTHON = "lpmx-test/demo:latest"
SAMTOOLS = "lpmx-test/samtools:latest"
# What BioContainers' images of packages are called; Galaxy finds them by the tool's requirements.
PACKAGES = {"quay.io/biocontainers/greet:1.0--0": OLD, "quay.io/biocontainers/greet:2.0--h1_0": NEW}

_TOOL = """\
<tool id="{name}" name="{name}" version="1.0" profile="23.0">
  <requirements>{requirements}</requirements>
  <command detect_errors="exit_code"><![CDATA[ {command} ]]></command>
  {variables}
  <inputs>{inputs}</inputs>
  <outputs><data name="out" format="txt" {output}/></outputs>
  {tests}
</tool>
"""
_TEXT = '<param name="text" type="text" value="x"/>'
_DATA = '<param name="input" type="data" format="txt"/>'
_TESTS = """\
<tests><test expect_num_outputs="1">
  <param name="text" value="x"/>
  <output name="out"><assert_contents><has_text text="in the container"/></assert_contents></output>
</test></tests>
"""
# Its input, the image, /tmp, a folder that is bound read-only, variables, and a result that it
# leaves in its working directory.
_LOOK = r"""
    cat '$input' &&
    cat /etc/lpmx-image &&
    echo scratch > /tmp/scratch && cat /tmp/scratch &&
    cat REFERENCES/genome.txt &&
    ( { echo no > REFERENCES/written ; } 2>&1 | grep -o 'Read-only file system' || echo written ) &&
    echo "bash \${BASH_VERSION:-none} slots \$GALAXY_SLOTS prefix \${GREET_HOME:-none}" &&
    mkdir made && echo from-work-dir > made/result.txt
"""
_COMPOSED = r"""
    cat /etc/lpmx-image > '$out' && printf '>c\nACGT\n' > x.fa &&
    samtools faidx x.fa && cat x.fa.fai >> '$out'
"""
# The script is the container's, and so is the job that runs it: on a node, in the same image.
_SUBMITS = r"""
    echo '#!/bin/sh' > job.sh &&
    echo 'cat /etc/lpmx-image > where; echo "job \$SLURM_JOB_ID" >> where' >> job.sh &&
    sbatch --wait --output=job.log job.sh && cat where > '$out'
"""
_NATIVE = r"""
    cat /etc/lpmx-image > '$out' && echo "secret of \${#API_KEY}" >> '$out' &&
    echo "key \$API_KEY" && pwd
"""
_SERVES = r"""
<tool id="serves" name="serves" version="1.0" tool_type="interactive" profile="23.0">
  <requirements><container type="docker">IMAGE</container></requirements>
  <entry_points>
    <entry_point name="Server" requires_domain="True">
      <port>8888</port><url>hello</url>
    </entry_point>
  </entry_points>
  <command><![CDATA[
    echo "hello \$WHO" > hello && echo said > '$out' && python3 -m http.server 8888 2>/dev/null
  ]]></command>
  <environment_variables>
    <environment_variable name="WHO">$text</environment_variable>
  </environment_variables>
  <inputs><param name="text" type="text" value="x"/></inputs>
  <outputs><data name="out" format="txt"/></outputs>
</tool>
"""


def _tool(
    name: str, command: str, *, image: str = OLD, package: str = "", data: bool = False, **more: str
) -> str:
    """A tool of @image, or of the package greet of version @package."""
    needs = f'<container type="docker">{image}</container>'
    if package:
        needs = f'<requirement type="package" version="{package}">greet</requirement>'
    empty = dict.fromkeys(("variables", "output", "tests"), "")
    return _TOOL.format(
        name=name, command=command, requirements=needs, inputs=_DATA if data else _TEXT,
        **empty | more,
    )  # fmt: skip


def tools(references: str, registry: str) -> dict[str, str]:
    """Name and XML of every tool; @references is the folder that the site binds read-only.

    @registry: where lab/tool:1 and lab/other:1 are, and nowhere else.
    """
    look = _LOOK.replace("REFERENCES", references)
    made = {"data": True, "output": 'from_work_dir="made/result.txt"'}
    key = (
        '<environment_variables><environment_variable name="API_KEY" inject="api_key"/>'
        "</environment_variables>"
    )
    natives = ("native_local", "native_slurm", "native_sge", "native_pulsar")
    return {
        "look_docker": _tool("look_docker", look, **made),  # type: ignore[arg-type]
        "look_singularity": _tool("look_singularity", look, image=NEW, **made),  # type: ignore[arg-type]
        "fails": _tool("fails", "echo said >&2; exit 7"),
        "missing": _tool("missing", "true", image="localhost:1/no/such-image:1"),
        "pulled_docker": _tool(
            "pulled_docker", "cat /etc/lpmx-image > '$out'", image=f"{registry}/lab/tool:1"
        ),
        "pulled_singularity": _tool(
            "pulled_singularity", "cat /etc/lpmx-image > '$out'", image=f"{registry}/lab/other:1"
        ),
        "package_old": _tool("package_old", "greet > '$out'", package="1.0"),
        "package_new": _tool(
            "package_new", r"greet > '$out'; echo \$GREET_HOME >> '$out'", package="2.0"
        ),
        # the same by an image file of Galaxy's cache
        "package_cached": _tool("package_cached", "greet > '$out'", package="2.0"),
        "tested": _tool(
            "tested", "cat /etc/lpmx-image > '$out'; echo in the container >> '$out'", tests=_TESTS
        ),
        "sleeps_docker": _tool("sleeps_docker", "echo up; sleep 3617"),
        "sleeps_singularity": _tool("sleeps_singularity", "echo up; sleep 3618", image=NEW),
        "composed": _tool("composed", _COMPOSED, image=NEW),
        "submits": _tool("submits", _SUBMITS, image=NEW),
        "serves": _SERVES.replace("IMAGE", PYTHON),
        **{name: _tool(name, _NATIVE, image=NEW, variables=key) for name in natives},
    }
