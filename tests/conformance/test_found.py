"""What random cases found, one of each kind, shrunk: the engine answers as the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conformance.conftest import Oracle

FOUND = {
    "rename judges its flags before its paths": """
        layer
        file t/f 644 1000000000 0 0
        file t/d/g 644 1000000000 0 0
        script
        0 rename -1 /t/absent/x -1 /t/y 3
        0 rename -1 /t/f -1 /t/f/x 4
        0 rename -1 /t/f -1 /t/d 4
        """,
    "rename looks at both parents before it minds dots": """
        layer
        dir t/d 755 1000000000
        script
        0 rename -1 /t/d -1 /t/absent/.. 0
        0 rename -1 /t/d/. -1 /t/e 0
        0 rename -1 /t/d -1 /t/. 1
        0 unlink -1 /t/absent/.. 512
        0 unlink -1 /t/d/. 512
        """,
    "rename refuses a lower folder before it looks whether the target is empty": """
        layer
        file t/d/f 644 1000000000 0 0
        file t/e/f 644 1000000000 0 0
        script
        0 rename -1 /t/d -1 /t/e 0
        0 dump /t
        """,
    "rename minds a slash behind a file's name": """
        layer
        file t/f 644 1000000000 1 1
        file t/g 644 1000000000 2 2
        dir t/d 755 1000000000
        script
        0 rename -1 /t/f/ -1 /t/g 0
        0 rename -1 /t/f -1 /t/g/ 0
        0 rename -1 /t/f -1 /t/d/ 2
        0 rename -1 /t/d/ -1 /t/f/ 2
        0 mkdir -1 /t/n 493
        0 rename -1 /t/n/ -1 /t/m/ 0
        0 dump /t
        """,
    "a name that is there is there, whatever slash follows": """
        layer
        file t/f 644 1000000000 1 8
        script
        0 symlink l1 -1 /t/f/
        0 mkdir -1 /t/f/ 493
        0 symlink l1 -1 /t/g/
        0 unlink -1 /t/f/ 0
        0 unlink -1 /t/f/ 512
        """,
    "open to create never takes a slash at the end": """
        layer
        file t/f 644 1000000000 1 8
        symlink t/l 777 1000000000 nowhere
        dir t/d 755 1000000000
        script
        0 put -1 /t/f// 65 420 1 1
        0 put -1 /t/l/ 65 420 1 1
        0 put -1 /t/d/ 65 420 1 1
        0 put -1 /t/d/. 193 420 1 1
        0 put -1 /t/new/ 65 420 1 1
        0 dump /t
        """,
    "open to create follows a chain of links": """
        layer
        dir t/a1 755 1000000000
        symlink t/a1/f1 777 1000000000 ../../t/d0
        symlink t/a1/d2 777 1000000000 f1
        script
        0 put -1 /t/a1/d2 66 384 10000 7
        0 dump /t
        """,
    "a slash at the end of a link's target counts": """
        layer
        file t/f 644 1000000000 1 8
        symlink t/l 777 1000000000 f/
        dir t/d 755 1000000000
        symlink t/m 777 1000000000 d/
        script
        0 cat -1 /t/l 0
        0 stat -1 /t/l 0
        0 stat -1 /t/m 0
        0 put -1 /t/m/x 65 420 1 1
        0 put -1 /t/l 65 420 1 1
        """,
    "readlink judges the size before the path": """
        layer
        symlink t/l 777 1000000000 target
        script
        0 readlink -1 /t/absent 0
        0 readlink -1 /t/l 0
        0 readlink -1 /t/l 3
        """,
    "linking a descriptor begins with the descriptor": """
        layer
        file t/f 644 1000000000 7 2
        script
        0 linkfd 30 1 -1 /t/f
        0 linkfd 30 0 -1 /t/f
        0 linkfd 30 0 -1 /t/f/x
        """,
    "whether a descriptor may be linked is asked before where to": """
        layer
        file t/f 644 1000000000 7 2
        script
        0 tmpfile 1 -1 /t 2 448
        0 fork 1
        1 linkfd 1 1 -1 /t/f
        1 linkfd 1 1 -1 /t/f/x
        1 linkfd 1 1 -1 /t/g
        0 linkfd 1 1 -1 /t/h
        """,
    "a descriptor is never linked as another file of its name": """
        layer
        file t/f 644 1000000000 5 56
        file t/g 644 1000000000 7 3
        script
        0 open 5 -1 /t/g 0 0
        0 rename -1 /t/f -1 /t/g 0
        0 linkfd 5 0 -1 /t/new
        0 linkfd 5 1 -1 /t/new
        0 dump /t
        """,
    "a folder that is mounted is listed as a folder": """
        layer
        script
        0 list -1 / 300
        """,
    "open judges its flags before its path": """
        layer
        file t/f 644 1000000000 7 2
        script
        0 tmpfile 1 -1 /t/absent 0 384
        0 tmpfile 1 -1 /t 0 384
        0 open 1 -1 /t/absent 65602 384
        """,
    "truncate judges the size before the path": """
        layer
        script
        0 truncate /t/absent -1
        """,
    "a folder is asked of a link that is not followed": """
        layer
        symlink t/l 777 1000000000 /t
        script
        0 open 1 -1 /t/l 196608 0
        0 open 1 -1 /t/l 131072 0
        """,
    "what fails for want of a folder copies nothing up": """
        layer
        file t/f 644 1000000000 7 3
        script
        0 open 1 -1 /t/f 65537 0
        0 tmpfile 1 -1 /t/f 2 384
        0 stat -1 /t/f 0
        """,
    "who reads and who writes a lower pipe meet": """
        layer
        fifo t/p 644 1000000000
        script
        0 open 5 -1 /t/p 0 0
        0 fork 1
        1 put -1 /t/p 1 0 100 7
        0 read 5 4096
        """,
    "a symlink to nothing is refused before its place": """
        layer
        dir t/d 755 1000000000
        script
        0 symlink % -1 /t/d
        0 symlink % -1 /t/e
        """,
}

# Of files with several names, which a plain tree keeps together where a union takes one out, and of
# what a plain tree allows.
FOUND_WITH_OVERLAYFS = {
    "a union leaves no whiteouts for programs": """
        layer
        file t/f 644 1000000000 0 0
        script
        0 rename -1 /t/f -1 /t/h 4
        0 put -1 /t/g 65 420 1 1
        0 link -1 /t/g -1 /t/i 0
        0 rename -1 /t/g -1 /t/i 4
        0 rename -1 /t/g -1 /t/f 4
        """,
    "removing an attribute that is not there copies nothing up": """
        layer
        file t/h0 755 1000000000 7 3
        hard t/h1 755 0 t/h0
        script
        0 removexattr /t/h0 user.b
        0 fchange -1 /t/h0 3 493
        0 stat -1 /t/h0 0
        0 removexattr /t/absent user.b
        """,
    "a lower file gets a new name through a descriptor as a copy": """
        layer
        file t/h0 644 1000000000 7 3
        script
        0 open 1 -1 /t/h0 0 0
        0 linkfd 1 1 -1 /t/new
        0 put -1 /t/new 1 0 3 9
        0 dump /t
        """,
    "a lower file gets a new name through /proc as a copy": """
        layer
        file t/h0 644 1000000000 7 3
        script
        0 open 1 -1 /t/h0 0 0
        0 linkfd 1 0 -1 /t/new
        0 put -1 /t/new 1 0 3 9
        0 dump /t
        """,
    "attributes of what can have none are refused": """
        layer
        fifo t/p 644 1000000000
        script
        0 removexattr /t/p user.b
        0 fchange -1 /t/p 3 493
        """,
}


@pytest.mark.parametrize("text", FOUND.values(), ids=FOUND.keys())
def test_found(oracle: Oracle, text: str) -> None:
    oracle.check(text)


@pytest.mark.needs_root
@pytest.mark.parametrize("text", FOUND_WITH_OVERLAYFS.values(), ids=FOUND_WITH_OVERLAYFS.keys())
def test_found_with_overlayfs(oracle: Oracle, text: str) -> None:
    oracle.check(text)
