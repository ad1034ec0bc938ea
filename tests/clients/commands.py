"""Every NBD command and flag through libnbd, against a model in memory.

usage: commands.py URI CASE
"""
import errno
import random
import sys

import nbd

BLOCK = 4096
REQUEST_MAX = 32 << 20


def connect(uri, structured=True, strict=True):
    h = nbd.NBD()
    h.set_request_structured_replies(structured)
    if structured:
        h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    if not strict:
        h.set_strict_mode(0)
    h.connect_uri(uri)
    assert h.get_structured_replies_negotiated() == structured
    return h


def pattern(length, seed):
    return random.Random(seed).randbytes(length)


def fails(expected, call, *arguments, **options):
    """The call fails with one of the expected numbers."""
    try:
        call(*arguments, **options)
    except nbd.Error as error:
        assert error.errnum in expected, f"{error} is none of {expected}"
        return
    raise AssertionError(f"{call} was to fail with {expected}")


def extents(h, count, offset, flags=0):
    found = []

    def take(context, start, entries, error):
        assert context == nbd.CONTEXT_BASE_ALLOCATION and start == offset and error.value == 0
        found.extend(zip(entries[0::2], entries[1::2]))

    h.block_status(count, offset, take, flags)
    return found


def model(uri, structured):
    """Random commands at random, mostly unaligned places agree with a byte array."""
    h = connect(uri, structured)
    size = 4 << 20
    expected = bytearray(size)
    dice = random.Random(7)
    for step in range(600):
        offset = dice.randrange(size)
        length = min(dice.choice([1, 17, 511, 512, 4095, 4096, 4097, 65536, 200_001]), size - offset)
        if dice.random() < 0.3:
            offset, length = offset // BLOCK * BLOCK, max(BLOCK, length // BLOCK * BLOCK)
            length = min(length, size - offset)
        end = offset + length
        action = dice.randrange(6)
        fua = nbd.CMD_FLAG_FUA if dice.random() < 0.1 else 0
        if action in (0, 1):
            bytes_ = pattern(length, step)
            h.pwrite(bytes_, offset, fua)
            expected[offset:end] = bytes_
        elif action == 2:
            flags = dice.choice([0, nbd.CMD_FLAG_NO_HOLE, fua])
            h.zero(length, offset, flags)
            expected[offset:end] = bytes(length)
        elif action == 3:
            h.trim(length, offset, fua)
            first, last = -(-offset // BLOCK) * BLOCK, end // BLOCK * BLOCK
            if first < last:
                expected[first:last] = bytes(last - first)
        elif action == 4:
            h.flush()
        else:
            assert h.pread(length, offset) == expected[offset:end], (step, offset, length)
    assert h.pread(size, 0) == expected
    h.shutdown()
    assert connect(uri, not structured).pread(size, 0) == expected


def model_structured(uri):
    model(uri, True)


def model_simple(uri):
    model(uri, False)


def trim_and_zero(uri):
    """Partial blocks survive a trim and are zeroed by a zero; whole blocks of both become holes."""
    h = connect(uri)
    data = pattern(64 * BLOCK, 1)
    h.pwrite(data, 0)
    h.trim(3 * BLOCK, 100)
    assert h.pread(BLOCK, 0) == data[:BLOCK]
    assert h.pread(2 * BLOCK, BLOCK) == bytes(2 * BLOCK)
    assert h.pread(BLOCK, 3 * BLOCK) == data[3 * BLOCK:4 * BLOCK]
    h.zero(3 * BLOCK, 8 * BLOCK + 100)
    assert h.pread(BLOCK, 8 * BLOCK) == data[8 * BLOCK:8 * BLOCK + 100] + bytes(BLOCK - 100)
    assert h.pread(BLOCK, 11 * BLOCK) == bytes(100) + data[11 * BLOCK + 100:12 * BLOCK]
    assert (2 * BLOCK, 3) in extents(h, 64 * BLOCK, 0)
    h.zero(4 * BLOCK, 16 * BLOCK, nbd.CMD_FLAG_NO_HOLE)
    assert h.pread(4 * BLOCK, 16 * BLOCK) == bytes(4 * BLOCK)
    try:
        h.zero(4 * BLOCK, 24 * BLOCK, nbd.CMD_FLAG_FAST_ZERO)
        assert h.pread(4 * BLOCK, 24 * BLOCK) == bytes(4 * BLOCK)
    except nbd.Error as error:
        assert error.errnum == errno.ENOTSUP, error
        assert h.pread(4 * BLOCK, 24 * BLOCK) == data[24 * BLOCK:28 * BLOCK]
    h.trim(REQUEST_MAX * 2, 0)
    assert extents(h, REQUEST_MAX * 2, 0)[0][1] == 3


def stable(uri):
    """FUA and FLUSH succeed with everything they go with, and what they covered is there."""
    h = connect(uri)
    for length in (1, BLOCK, 100_000, 1 << 20, REQUEST_MAX):
        data = pattern(length, length)
        h.pwrite(data, 12345, nbd.CMD_FLAG_FUA)
        assert h.pread(length, 12345) == data
    h.trim(1 << 20, 0, nbd.CMD_FLAG_FUA)
    h.zero(1 << 20, 0, nbd.CMD_FLAG_FUA)
    for _ in range(50):
        h.pwrite(b"x", 77)
        h.flush()


def status(uri):
    h = connect(uri)
    size = h.get_size()
    assert extents(h, 64 << 20, 0)[0][1] == 3
    h.pwrite(pattern(3 * BLOCK, 3), 10 * BLOCK)
    h.pwrite(pattern(1, 3), 100 * BLOCK)
    found = extents(h, 200 * BLOCK, 0)
    assert found[:5] == [(10 * BLOCK, 3), (3 * BLOCK, 0), (87 * BLOCK, 3), (BLOCK, 0), (99 * BLOCK, 3)] or (
        found[:4] == [(10 * BLOCK, 3), (3 * BLOCK, 0), (87 * BLOCK, 3), (BLOCK, 0)] and found[4][1] == 3), found
    one = extents(h, 200 * BLOCK, 0, nbd.CMD_FLAG_REQ_ONE)
    assert one == [(10 * BLOCK, 3)], one
    one = extents(h, 200 * BLOCK, 11 * BLOCK, nbd.CMD_FLAG_REQ_ONE)
    assert one == [(2 * BLOCK, 0)], one
    one = extents(h, 5, 10 * BLOCK + 7, nbd.CMD_FLAG_REQ_ONE)
    assert one == [(5, 0)], one
    # A map too long for one reply is cut, not refused.
    for index in range(3000):
        h.pwrite(b"y", (1000 + 2 * index) * BLOCK)
    at, end, seen = 1000 * BLOCK, 7000 * BLOCK, 0
    while at < end:
        for length, kind in extents(h, end - at, at):
            assert length > 0 and kind in (0, 3)
            seen += kind == 0
            at += length
    assert seen == 3000, seen
    fails([errno.EINVAL], extents, connect(uri, strict=False), 2 * BLOCK, size - BLOCK)


def chunks(h, length, offset, flags=0):
    found = []

    def take(buffer, at, kind, error):
        assert error.value == 0
        found.append((at, len(buffer), kind))

    data = h.pread_structured(length, offset, take, flags)
    return data, sorted(found)


def fragments(uri):
    """Structured reads say where the holes are; with DF there is one piece of data."""
    h = connect(uri)
    data = pattern(4 * BLOCK, 9)
    h.pwrite(data, 4 * BLOCK)
    expected = bytes(4 * BLOCK) + data + bytes(4 * BLOCK)
    read, found = chunks(h, 12 * BLOCK, 0)
    assert read == expected
    assert sum(length for _, length, _ in found) == 12 * BLOCK
    assert (0, 4 * BLOCK, nbd.READ_HOLE) in found and (4 * BLOCK, 4 * BLOCK, nbd.READ_DATA) in found, found
    read, found = chunks(h, 12 * BLOCK, 0, nbd.CMD_FLAG_DF)
    assert read == expected and len(found) == 1, found
    read, found = chunks(h, 100, BLOCK + 1)
    assert read == bytes(100) and sum(length for _, length, _ in found) == 100


def cache(uri):
    h = connect(uri)
    h.pwrite(b"cached", 0)
    h.cache(1 << 20, 0)
    h.cache(1, 12345)
    assert h.pread(6, 0) == b"cached"
    fails([errno.EINVAL], connect(uri, strict=False).cache, BLOCK, h.get_size())


def limits(uri):
    """Requests past the end or past the maximum fail and leave the connection alone; the largest allowed ones work."""
    size = connect(uri).get_size()
    for structured in (True, False):
        h = connect(uri, structured, strict=False)
        data = pattern(REQUEST_MAX, 5)
        h.pwrite(data, size - REQUEST_MAX)
        assert h.pread(REQUEST_MAX, size - REQUEST_MAX) == data
        invalid, full = [errno.EINVAL], [errno.ENOSPC, errno.EINVAL]
        for offset, length in ((size, 1), (size - 1, 2), (size - BLOCK, 2 * BLOCK), (1 << 62, BLOCK), (2**63 - 1, 1)):
            fails(invalid, h.pread, length, offset)
            fails(full, h.pwrite, bytes(length), offset)
            fails(full, h.zero, length, offset)
            fails(full, h.trim, length, offset)
        fails([errno.EINVAL, errno.EOVERFLOW], h.pread, REQUEST_MAX + 1, 0)
        assert h.pread(REQUEST_MAX, size - REQUEST_MAX) == data
        h.zero(REQUEST_MAX, size - REQUEST_MAX)
    # A payload past the maximum may cost the connection, and nothing else.
    h = connect(uri, strict=False)
    fails([errno.EINVAL, errno.EOVERFLOW, errno.ENOTCONN, errno.EPIPE, errno.ECONNRESET, 0], h.pwrite,
          bytes(REQUEST_MAX + BLOCK), 0)
    assert connect(uri).pread(BLOCK, 0) == bytes(BLOCK)


def malformed(uri):
    """Unknown flags are refused and the connection lives."""
    for structured in (True, False):
        h = connect(uri, structured, strict=False)
        h.pwrite(b"kept", 0)
        for flags in (1 << 15, 1 << 9):
            fails([errno.EINVAL], h.pread, BLOCK, 0, flags)
            fails([errno.EINVAL], h.pwrite, bytes(BLOCK), 0, flags)
            fails([errno.EINVAL], h.trim, BLOCK, 0, flags)
            fails([errno.EINVAL], h.zero, BLOCK, 0, flags)
        assert h.pread(4, 0) == b"kept"
        for call in (lambda: h.pread(0, 0), lambda: h.pwrite(b"", 0), lambda: h.trim(0, 0), lambda: h.zero(0, 0)):
            try:
                call()
            except nbd.Error as error:
                assert error.errnum == errno.EINVAL, error
        assert h.pread(4, 0) == b"kept"


def handshakes(uri):
    """Option haggling as old and new clients do it."""
    plain = nbd.NBD()
    plain.set_handshake_flags(0)
    plain.connect_uri(uri)
    plain.pwrite(b"old", 0)
    assert plain.pread(3, 0) == b"old"
    h = nbd.NBD()
    h.set_opt_mode(True)
    h.connect_uri(uri)
    name = h.get_export_name()
    listed = []
    h.opt_list(lambda export, description: listed.append(export))
    assert name in listed, listed
    h.set_export_name("no such volume")
    fails([errno.ENOENT, errno.EINVAL], h.opt_info)
    fails([errno.ENOENT, errno.EINVAL], h.opt_go)
    h.set_export_name(name)
    h.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    h.add_meta_context("x-nobody:knows")
    h.opt_info()
    assert h.get_size() > 0
    h.opt_go()
    assert h.can_meta_context(nbd.CONTEXT_BASE_ALLOCATION) and not h.can_meta_context("x-nobody:knows")
    assert h.pread(3, 0) == b"old"
    h = nbd.NBD()
    h.set_opt_mode(True)
    h.connect_uri(uri)
    h.opt_abort()


def pipeline(uri):
    """Many requests in flight are all answered, and rightly; a second connection sees what the first was told is done."""
    one, two = connect(uri), connect(uri)
    dice = random.Random(11)
    places = dice.sample(range(2000), 400)
    cookies = []
    for place in places:
        buffer = nbd.Buffer.from_bytearray(bytearray(pattern(BLOCK, place)))
        cookies.append(one.aio_pwrite(buffer, place * BLOCK))
    for cookie in cookies:
        while not one.aio_command_completed(cookie):
            one.poll(-1)
    reads = []
    for place in places:
        buffer = nbd.Buffer(BLOCK)
        reads.append((place, buffer, two.aio_pread(buffer, place * BLOCK)))
    for place, buffer, cookie in reads:
        while not two.aio_command_completed(cookie):
            two.poll(-1)
        assert buffer.to_bytearray() == pattern(BLOCK, place), place


if __name__ == "__main__":
    globals()[sys.argv[2]](sys.argv[1])
