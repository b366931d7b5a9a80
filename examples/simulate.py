"""Reproducible reads for the examples: of a random reference, with known changes and errors.

usage: simulate.py pairs OUT [BASES]    OUT/ref.fa, OUT/reads_1.fq, OUT/reads_2.fq, OUT/truth.txt
       simulate.py long OUT [BASES]     OUT/ref.fa, OUT/long.fq: long reads with few errors

The same arguments always give the same files. Only the standard library is used.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BASES = "ACGT"
COMPLEMENT = str.maketrans("ACGT", "TGCA")
READ, INSERT, DEPTH = 100, 300, 20
ERRORS = 0.002  # of each base of a read
SNPS = 0.0005  # of each base of the reference
LONG_READ, LONG_DEPTH = 8000, 25


def random_sequence(source: random.Random, length: int) -> str:
    """@length random bases."""
    return "".join(source.choices(BASES, k=length))


def other_base(source: random.Random, base: str) -> str:
    """One of the three others."""
    return source.choice([each for each in BASES if each != base])


def changed(source: random.Random, sequence: str) -> tuple[str, list[tuple[int, str, str]]]:
    """@sequence with single bases replaced, and what was: position from 1, before, after."""
    bases = list(sequence)
    truth = []
    for index in sorted(source.sample(range(len(bases)), int(len(bases) * SNPS))):
        new = other_base(source, bases[index])
        truth.append((index + 1, bases[index], new))
        bases[index] = new
    return "".join(bases), truth


def with_errors(source: random.Random, read: str) -> str:
    """@read as a sequencer would see it."""
    bases = list(read)
    for index in range(len(bases)):
        if source.random() < ERRORS:
            bases[index] = other_base(source, bases[index])
    return "".join(bases)


def pairs(source: random.Random, genome: str) -> Iterator[tuple[str, str]]:
    """Read pairs that cover @genome."""
    for _ in range(len(genome) * DEPTH // (2 * READ)):
        start = source.randrange(len(genome) - INSERT)
        fragment = genome[start : start + INSERT]
        if source.random() < 0.5:
            fragment = fragment.translate(COMPLEMENT)[::-1]
        mate = fragment[-READ:].translate(COMPLEMENT)[::-1]
        yield with_errors(source, fragment[:READ]), with_errors(source, mate)


def long_reads(source: random.Random, genome: str) -> Iterator[str]:
    """Long reads that cover @genome, ends included."""
    wanted = LONG_DEPTH * len(genome)
    while wanted > 0:
        length = min(len(genome), int(source.gauss(LONG_READ, LONG_READ / 8)))
        start = source.randrange(-length // 2, len(genome) - length // 2)
        read = genome[max(start, 0) : max(start, 0) + length]
        wanted -= len(read)
        if source.random() < 0.5:
            read = read.translate(COMPLEMENT)[::-1]
        yield with_errors(source, read)


def fasta(name: str, sequence: str) -> str:
    """A FASTA record with lines of 80."""
    lines = [sequence[i : i + 80] for i in range(0, len(sequence), 80)]
    return "\n".join([f">{name}", *lines, ""])


def fastq(name: str, read: str) -> str:
    """A FASTQ record of even quality."""
    return f"@{name}\n{read}\n+\n{'I' * len(read)}\n"


def main(arguments: list[str]) -> int:
    """Write the files."""
    if len(arguments) not in {2, 3} or arguments[0] not in {"pairs", "long"}:
        print(__doc__, file=sys.stderr)
        return 2
    kind, folder = arguments[0], Path(arguments[1])
    length = int(arguments[2]) if len(arguments) == 3 else 100_000
    folder.mkdir(parents=True, exist_ok=True)
    source = random.Random(20221123)  # noqa: S311  reproducible, not secret
    reference = random_sequence(source, length)
    (folder / "ref.fa").write_text(fasta("chr1", reference))
    if kind == "long":
        with open(folder / "long.fq", "w") as file:
            file.writelines(
                fastq(f"long{number}", read)
                for number, read in enumerate(long_reads(source, reference))
            )
        return 0
    genome, truth = changed(source, reference)
    (folder / "truth.txt").write_text("".join(f"{at} {old} {new}\n" for at, old, new in truth))
    with open(folder / "reads_1.fq", "w") as one, open(folder / "reads_2.fq", "w") as two:
        for number, (first, second) in enumerate(pairs(source, genome)):
            one.write(fastq(f"pair{number}/1", first))
            two.write(fastq(f"pair{number}/2", second))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
