"""Reading a tar archive as a stream: ustar, pax and GNU headers, long names, sparse files.

Written for speed and for archives that lie: one pass, no seeking, every number checked, and only
ArchiveError for what is wrong. What a header means to a container layer is layer.py's business. Not
tarfile: that costs several times more a member, and decides on its own what to do with names that
are not text.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import TYPE_CHECKING

from lpmx_runtime.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["BLOCK", "ByteStream", "FileStream", "Member", "TarReader"]

BLOCK = 512
MAX_SPECIAL = 1 << 20  # bytes of one pax header or long name
MAX_SPARSE = 1 << 18  # pieces of one sparse file
_ZERO = bytes(BLOCK)
_SPACES = 8 * 0x20
_NO_DATA = b"123456"  # kinds whose size field says nothing about data
_EXTRA = {b"x": b"", b"X": b"", b"L": b"path", b"K": b"linkpath"}  # kinds that speak of the next
_SPARSE_MAP = b"GNU.sparse.map"
_SPARSE_PIECE = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
_FAR = 1 << 40  # seconds: mtimes beyond are clamped

REGULAR, HARDLINK, SYMLINK, CHAR, BLOCK_DEVICE, FOLDER, FIFO = (
    b"0",
    b"1",
    b"2",
    b"3",
    b"4",
    b"5",
    b"6",
)


class ByteStream:
    """An iterator of byte blocks, read piece by piece.

    @on_block sees every block, in order; @on_rest all that is read or passed over, which is all but
    what copy() writes out.
    """

    def __init__(
        self,
        blocks: Iterator[bytes],
        on_block: Callable[[bytes], None] | None = None,
        on_rest: Callable[[bytes], None] | None = None,
    ) -> None:
        self._blocks = blocks
        self._on_block = on_block
        self._on_rest = on_rest
        self._block = b""
        self._view = memoryview(b"")
        self._position = 0
        self._before = 0  # bytes in blocks before this one

    @property
    def consumed(self) -> int:
        """Bytes read so far."""
        return self._before + self._position

    def _more(self) -> bool:
        """The next block that is not empty. False at the end."""
        self._before += len(self._block)
        self._position = 0
        for block in self._blocks:
            if block:
                if self._on_block is not None:
                    self._on_block(block)
                self._block = block
                self._view = memoryview(block)
                return True
        self._block = b""
        self._view = memoryview(b"")
        return False

    def read(self, size: int) -> bytes:
        """Up to @size bytes: fewer only at the end."""
        position = self._position
        end = position + size
        if end <= len(self._block):
            self._position = end
            data = self._block[position:end]
            if self._on_rest is not None:
                self._on_rest(data)
            return data
        pieces = []
        while size > 0:
            if self._position == len(self._block) and not self._more():
                break
            piece = self._block[self._position : self._position + size]
            self._position += len(piece)
            size -= len(piece)
            pieces.append(piece)
        data = b"".join(pieces)
        if self._on_rest is not None:
            self._on_rest(data)
        return data

    def exactly(self, size: int) -> bytes:
        """@size bytes; the stream may not end before."""
        data = self.read(size)
        if len(data) != size:
            raise _truncated()
        return data

    def copy(self, size: int, fd: int) -> None:
        """Write the next @size bytes to descriptor @fd."""
        while size > 0:
            if self._position == len(self._block) and not self._more():
                raise _truncated()
            written = os.write(fd, self._view[self._position : self._position + size])
            self._position += written
            size -= written

    def skip(self, size: int) -> None:
        """Pass over @size bytes."""
        while size > 0:
            left = len(self._block) - self._position
            if left == 0:
                if not self._more():
                    raise _truncated()
                continue
            step = min(size, left)
            if self._on_rest is not None:
                self._on_rest(self._block[self._position : self._position + step])
            self._position += step
            size -= step

    def drain(self) -> None:
        """Pass over all that is left."""
        left = len(self._block) - self._position
        self.skip(left)
        while self._more():
            self.skip(len(self._block))


class FileStream(ByteStream):
    """A file that can be sought in, read as a stream: passing over data costs nothing."""

    def __init__(self, fd: int, size: int) -> None:
        super().__init__(iter(()))
        self._fd = fd
        self._size = size

    def read(self, size: int) -> bytes:
        """Up to @size bytes: fewer only at the end."""
        data = os.pread(self._fd, size, self._position)
        self._position += len(data)
        return data

    def skip(self, size: int) -> None:
        """Pass over @size bytes. An archive may end within the padding of its last member."""
        self._position += size
        if self._position >= self._size + BLOCK:
            raise _truncated()


class Member:
    """One member: its header, with extensions applied. @size is that of the stored data."""

    __slots__ = (
        "name", "kind", "mode", "uid", "gid", "size", "mtime_ns", "link", "rdev", "xattrs",
        "pieces", "real_size",
    )  # fmt: skip

    def __init__(self) -> None:
        self.name = b""
        self.kind = REGULAR
        self.mode = 0
        self.uid = 0
        self.gid = 0
        self.size = 0
        self.mtime_ns = 0
        self.link = b""
        self.rdev = 0
        self.xattrs: dict[bytes, bytes] | None = None
        self.pieces: list[tuple[int, int]] | None = None  # (offset, length) of a sparse file's data
        self.real_size = 0


class TarReader:
    """Iterates the members of an archive. Read a member's data before asking for the next."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[Member]:
        stream = self.stream
        extra: dict[bytes, bytes] = {}  # pax records for the next member; GNU's long names as such
        while True:
            header = stream.read(BLOCK)
            if len(header) != BLOCK:
                if header and stream.consumed <= BLOCK and b"\0" not in header:
                    raise ArchiveError("not a tar archive")  # names are padded with NUL
                if header or extra:
                    raise _truncated()
                return
            if header == _ZERO:
                self._end()
                return
            _verify(header)
            kind = header[156:157]
            if kind in _EXTRA:
                data = self._special(header)
                key = _EXTRA[kind]
                extra.update({key: _text(data)} if key else _pax_records(data))
            elif kind in {b"g", b"V", b"N"}:
                stream.skip(_padded(_number(header, 124, 136, "size")))
            else:
                member = _header(header, kind)
                if extra:
                    _apply_pax(member, extra)
                    if kind == b"\0" and member.name.endswith(b"/"):
                        member.kind = FOLDER
                yield from self._with_data(member, header, extra)
                extra = {}

    def _with_data(
        self, member: Member, header: bytes, pax: dict[bytes, bytes]
    ) -> Iterator[Member]:
        """Hand @member out, then stand behind its data, however much of it was read."""
        stream = self.stream
        if member.kind in _NO_DATA:
            member.size = 0
        stored = member.size
        before = stream.consumed
        if member.kind == b"S":
            before += _gnu_sparse(member, header, stream)
        elif pax and any(key.startswith(b"GNU.sparse.") for key in pax):
            _pax_sparse(member, pax, stream)
        yield member
        stream.skip(before + _padded(stored) - stream.consumed)

    def _special(self, header: bytes) -> bytes:
        size = _number(header, 124, 136, "size")
        if size > MAX_SPECIAL:
            raise ArchiveError(f"a header of {size} bytes: longer than any real archive needs")
        data = self.stream.exactly(size)
        self.stream.skip(_padded(size) - size)
        return data

    def _end(self) -> None:
        """After one block of zeros: a second one, or the end, must follow."""
        second = self.stream.read(BLOCK)
        if second and second != _ZERO[: len(second)]:
            raise ArchiveError("damaged: data behind the end mark")


def _truncated() -> ArchiveError:
    return ArchiveError("truncated: the archive ends in the middle of a member")


def _padded(size: int) -> int:
    return (size + BLOCK - 1) & -BLOCK


def _verify(header: bytes) -> None:
    """Check the header's sum by Adler-32, whose low half is it modulo 65521: faster than sum()."""
    field = header[148:156]
    try:
        claimed = int(field.strip(b" \0"), 8)
    except ValueError:
        raise ArchiveError("damaged: not a tar header where one is due") from None
    rest = sum(field)
    total = (zlib.adler32(header) & 0xFFFF) - 1
    if (total - rest + _SPACES - claimed) % 65521 and claimed != _signed_sum(header):
        raise ArchiveError("damaged: a header's checksum differs")


def _signed_sum(header: bytes) -> int:
    """The sum as old programs made it, of signed bytes."""
    rest: int = sum(struct.unpack_from("8b", header, 148))
    total: int = sum(struct.unpack("512b", header))
    return total - rest + _SPACES


def _number(header: bytes, start: int, end: int, what: str) -> int:
    """A numeric field: octal text, or GNU's base 256."""
    field = header[start:end]
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if first & 0x40:
            value -= 1 << (8 * len(field) - 1)
    else:
        try:
            value = int(field.partition(b"\0")[0].strip(b" \0") or b"0", 8)
        except ValueError:
            raise ArchiveError(f"damaged: bad {what} in a header") from None
    if value < 0 and what != "time":
        raise ArchiveError(f"damaged: negative {what} in a header")
    return value


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _header(header: bytes, kind: bytes) -> Member:
    member = Member()
    name = _text(header[0:100])
    magic = header[257:263]
    if magic == b"ustar\0":
        end = (
            476 if header[508:512] == b"tar\0" else 500
        )  # star keeps times behind a shorter prefix
        prefix = _text(header[345:end])
        if prefix:
            name = prefix + b"/" + name
    member.name = name
    if kind in {b"\0", b"7"}:
        kind = FOLDER if kind == b"\0" and name.endswith(b"/") else REGULAR
    member.kind = kind
    member.mode = _number(header, 100, 108, "mode") & 0o7777
    member.uid = _number(header, 108, 116, "owner") & 0xFFFFFFFF
    member.gid = _number(header, 116, 124, "group") & 0xFFFFFFFF
    member.size = member.real_size = _number(header, 124, 136, "size")
    member.mtime_ns = _clamp(_number(header, 136, 148, "time")) * 1_000_000_000
    if kind in b"12":
        member.link = _text(header[157:257])
    elif kind in b"34":
        major = _number(header, 329, 337, "device")
        minor = _number(header, 337, 345, "device")
        member.rdev = os.makedev(major & 0xFFF, minor & 0xFFFFF)
    return member


def _clamp(seconds: int) -> int:
    return max(-_FAR, min(_FAR, seconds))


# ---------------------------------------------------------------- pax
def _pax_records(data: bytes) -> dict[bytes, bytes]:
    records = {}
    pieces: list[bytes] = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        digits = data[position:space] if space > 0 else b""
        end = position + int(digits) if digits.isdigit() else 0
        if end <= space + 1 or end > len(data) or data[end - 1 : end] != b"\n":
            if not data[position:].strip(b"\0"):
                break
            raise ArchiveError("damaged: bad pax header")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise ArchiveError("damaged: bad pax header")
        if key in _SPARSE_PIECE:
            pieces.append(value)  # form 0.0 repeats these two, piece by piece
        else:
            records[key] = value
        position = end
    if pieces:
        records[_SPARSE_MAP] = b",".join(pieces)  # which is the map of form 0.1
    return records


def _pax_number(value: bytes, key: str) -> int:
    if not value.isdigit() or len(value) > 19:
        raise ArchiveError(f"damaged: bad {key} in a pax header")
    return int(value)


def _pax_time(value: bytes) -> int:
    """Decimal seconds as nanoseconds, rounded down."""
    whole, _, fraction = value.partition(b".")
    negative = whole.startswith(b"-")
    digits = whole[1:] if negative else whole
    if not digits.isdigit() or (fraction and not fraction.isdigit()) or len(digits) > 19:
        raise ArchiveError("damaged: bad time in a pax header")
    nanoseconds = min(int(digits), _FAR) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return -nanoseconds if negative else nanoseconds


def _apply_pax(member: Member, pax: dict[bytes, bytes]) -> None:
    for key, value in pax.items():
        if key.startswith(b"SCHILY.xattr."):
            if member.xattrs is None:
                member.xattrs = {}
            member.xattrs[key[13:]] = value
        elif not value:
            continue  # an empty value takes a global default back: we have none
        elif key == b"path":
            member.name = value
        elif key == b"linkpath":
            member.link = value
        elif key == b"mtime":
            member.mtime_ns = _pax_time(value)
        elif key == b"size":
            member.size = member.real_size = _pax_number(value, "size")
        elif key == b"uid":
            member.uid = _pax_number(value, "owner") & 0xFFFFFFFF
        elif key == b"gid":
            member.gid = _pax_number(value, "group") & 0xFFFFFFFF


# ---------------------------------------------------------------- sparse files
def _check_pieces(member: Member, pieces: list[tuple[int, int]]) -> None:
    """Pieces must be in order, inside the file, and together as long as the data that is stored."""
    at = total = 0
    for offset, length in pieces:
        if offset < at or offset + length > member.real_size:
            raise ArchiveError("damaged: bad map of a sparse file")
        at = offset + length
        total += length
    if total > member.size:
        raise ArchiveError("damaged: a sparse file's map is longer than its data")
    member.pieces = pieces
    member.kind = REGULAR


def _gnu_sparse(member: Member, header: bytes, stream: ByteStream) -> int:
    """The old GNU form: pieces in the header and blocks behind it, whose length is returned."""
    pieces: list[tuple[int, int]] = []
    block, start, count, flag = header, 386, 4, 482
    member.real_size = _number(header, 483, 495, "size")
    extra = 0
    while True:
        for at in range(start, start + 24 * count, 24):
            if block[at] == 0:
                break
            pieces.append(
                (_number(block, at, at + 12, "size"), _number(block, at + 12, at + 24, "size"))
            )
        if not block[flag]:
            break
        if len(pieces) > MAX_SPARSE:
            raise ArchiveError("a sparse file with too many pieces")
        block, start, count, flag = stream.exactly(BLOCK), 0, 21, 504
        extra += BLOCK
    _check_pieces(member, pieces)
    return extra


def _pax_sparse(member: Member, pax: dict[bytes, bytes], stream: ByteStream) -> None:
    """The pax forms 0.0, 0.1 and 1.0."""
    name = pax.get(b"GNU.sparse.name")
    if name:
        member.name = name
    size = pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size")
    if size is None:
        raise ArchiveError("damaged: a sparse file without its size")
    member.real_size = _pax_number(size, "size")
    if pax.get(b"GNU.sparse.major") == b"1":
        numbers = _sparse_map(stream, member)
    else:
        listed = pax.get(_SPARSE_MAP, b"")
        numbers = [_pax_number(word, "size") for word in listed.split(b",") if word]
    if len(numbers) % 2:
        raise ArchiveError("damaged: bad map of a sparse file")
    _check_pieces(member, list(zip(numbers[::2], numbers[1::2], strict=True)))


def _sparse_map(stream: ByteStream, member: Member) -> list[int]:
    """Form 1.0: decimal lines at the head of the data, padded to a block."""
    lines: list[bytes] = []
    rest = b""
    wanted = 1
    used = 0
    while len(lines) < wanted:
        used += BLOCK
        if used > member.size:
            raise ArchiveError("damaged: bad map of a sparse file")
        *complete, rest = (rest + stream.exactly(BLOCK)).split(b"\n")
        lines += complete
        if lines and wanted == 1:
            wanted = 1 + 2 * min(_pax_number(lines[0], "size"), MAX_SPARSE + 1)
            if wanted > 2 * MAX_SPARSE:
                raise ArchiveError("a sparse file with too many pieces")
    member.size -= used
    return [_pax_number(line, "size") for line in lines[1:wanted]]
