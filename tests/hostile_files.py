"""Picture files meant to do harm, made from small good ones by a seeded generator; run as a program, it loads them.

``python hostile_files.py COUNT FOLDER`` writes each file to FOLDER, loads it with ``convtwist.images`` under a limit on
memory and a watchdog, and prints what happened as JSON.  It is a process of its own because a limit on memory, a hang
and a line on stderr concern a whole process.
"""

import faulthandler
import io
import json
import resource
import struct
import sys
import warnings
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"
MAGIC = (PNG, b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"RIFF\0\0\0\0WEBP", b"P6\n",
         b"%!PS-Adobe-3.0", b"%PDF-1.7", b"PK\3\4", b"<svg xmlns", b"\0\0\0\x1cftypavif", b"8BPS",
         b"\x89HDF\r\n", b"GRIB", b"\0")
CHUNKS = "tRNS PLTE gAMA iCCP eXIf acTL fcTL fdAT tIME pHYs XXXX tEXt".split()
BIG = (0, 1, 2, 255, 256, 7000, 30_000, 32_767, 65_535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))  # XYZ of its red, ...
JUNK = (b"", b"these are words\n" * 9, b"<!doctype html><title>404</title>", bytes(4096), b"\xff" * 4096,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n/x {x} def x\n",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>')


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def chunks(file):
    """Split a PNG file into ``[kind, data]`` pairs."""
    at, found = 8, []
    while at + 8 <= len(file):
        (length,) = struct.unpack_from(">I", file, at)
        found.append([file[at + 4 : at + 8], file[at + 8 : at + 8 + length]])
        at += 12 + length
    return found


def png(pairs):
    return PNG + b"".join(chunk(kind, data) for kind, data in pairs)


def raw_png(array, depth, colour, *extra, interlaced=False):
    """Encode samples ``(height, width, channels)`` by hand, for the kinds that Pillow does not write."""
    def rows(part):
        return b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in part if row.size)

    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [array[y::dy, x::dx] for y, x, dy, dx in passes] if interlaced else [array]
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], depth, colour, 0, 0, interlaced)
    body = zlib.compress(b"".join(map(rows, parts)))
    return png([[b"IHDR", header], *extra, [b"IDAT", body], [b"IEND", b""]])


def saved(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def icc(space="RGB "):
    """Write a colour profile by hand: Adobe RGB's primaries and gamma, a gamma of 1 for grey, or grey ink."""
    def fixed(*numbers):
        return struct.pack(f">{len(numbers)}i", *(round(65536 * number) for number in numbers))

    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"mine\0" + bytes(79), b"cprt": b"text\0\0\0\0none\0",
            b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249)}
    if space == "RGB ":
        for name, xyz in zip("rgb", ADOBE, strict=True):
            tags[f"{name}XYZ".encode()] = b"XYZ \0\0\0\0" + fixed(*xyz)
            tags[f"{name}TRC".encode()] = b"curv\0\0\0\0" + struct.pack(">IH", 1, 563)  # 563 / 256 = 2.2
    elif space == "GRAY":
        tags[b"kTRC"] = b"curv\0\0\0\0" + struct.pack(">I", 0)
    else:
        ramp, paper, ink = bytes(range(256)), b"\xff\x80\x80", b"\0\x80\x80"
        tags[b"A2B0"] = (b"mft1\0\0\0\0\4\3\2\0" + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + 4 * ramp + paper + 15 * ink
                         + 3 * ramp)
    at, table, body = 132 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    kind, between = (b"prtr", b"Lab ") if space == "CMYK" else (b"mntr", b"XYZ ")
    head = struct.pack(">I4xI4s4s4s12x4s", at + len(body), 0x02100000, kind, space.encode(), between, b"acsp")
    return head.ljust(68, b"\0") + fixed(0.9642, 1, 0.8249) + bytes(48) + struct.pack(">I", len(tags)) + table + body


def good_files(rng):
    """Return name: bytes of small valid pictures of every kind that ``load`` takes."""
    y, x = np.mgrid[:17, :23]
    smooth = np.stack([x * 11, y * 15, (x + y) * 6], 2).astype(np.uint8)
    noise = rng.integers(0, 256, (17, 23, 4), dtype=np.uint8)
    deep = rng.integers(0, 65536, (17, 23, 4), dtype=np.uint16)
    photo, clear = Image.fromarray(smooth), Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {f"png {mode}": saved(photo.convert(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGB")}
    files |= {
        "png RGBA": saved(clear, "PNG"), "png exif": saved(photo, "PNG", exif=exif),
        "png tRNS palette": saved(photo.convert("P"), "PNG", transparency=bytes(range(0, 250, 10))),
        "png tRNS colour": saved(photo, "PNG", transparency=(0, 0, 0)),
        "png I;16": raw_png(deep[..., :1], 16, 0), "png I;16 tRNS": raw_png(deep[..., :1], 16, 0, [b"tRNS", b"\1\2"]),
        "png RGB16": raw_png(deep[..., :3], 16, 2), "png LA16": raw_png(deep[..., :2], 16, 4),
        "png RGBA16 interlaced": raw_png(deep, 16, 6, interlaced=True),
        "png RGB interlaced": raw_png(smooth, 8, 2, interlaced=True),
        "png moving": saved(photo, "PNG", save_all=True, append_images=[photo.rotate(90)]),
        "jpeg": saved(photo, "JPEG"), "jpeg grey": saved(photo.convert("L"), "JPEG"),
        "jpeg turned": saved(photo, "JPEG", exif=exif), "jpeg progressive": saved(photo, "JPEG", progressive=True),
        "jpeg CMYK": saved(photo.convert("CMYK"), "JPEG"),
        "gif": saved(photo, "GIF"), "gif moving": saved(photo, "GIF", save_all=True, append_images=[photo.rotate(90)]),
        "bmp": saved(photo, "BMP"), "bmp P": saved(photo.convert("P"), "BMP"), "ppm": saved(photo, "PPM"),
        "tiff": saved(photo, "TIFF", exif=exif), "tiff lzw": saved(photo, "TIFF", compression="tiff_lzw"),
        "tiff RGBA": saved(clear, "TIFF"), "tiff I;16": saved(Image.fromarray(deep[..., 0]), "TIFF"),
        "tiff F": saved(Image.fromarray((deep[..., 0] / 65535).astype(np.float32)), "TIFF"),
        "webp": saved(photo, "WEBP"), "webp lossless": saved(clear, "WEBP", lossless=True, exif=exif.tobytes()),
        "avif": saved(photo, "AVIF"),
        "png profile": saved(photo, "PNG", icc_profile=icc()),
        "jpeg profile": saved(photo, "JPEG", icc_profile=icc(), exif=exif),
        "jpeg grey profile": saved(photo.convert("L"), "JPEG", icc_profile=icc("GRAY")),
        "tiff CMYK profile": saved(photo.convert("CMYK"), "TIFF", icc_profile=icc("CMYK")),
        "jpeg of two": saved(photo, "MPO", save_all=True, append_images=[photo.resize((5, 4))]),
    }
    return files


def truncated(file, rng):
    return file[: rng.integers(0, len(file))]


def wrong_magic(file, rng):
    magic = MAGIC[rng.integers(len(MAGIC))]
    return magic + file[len(magic) * int(rng.integers(2)) :]


def flipped(file, rng):
    changed = bytearray(file)
    for at in rng.integers(0, len(file), rng.integers(1, 9)):
        changed[at] ^= 1 << rng.integers(8)
    return bytes(changed)


def extreme_bytes(file, rng):
    changed = bytearray(file)
    start = rng.integers(0, min(len(file), 400))
    values = rng.choice([0, 1, 127, 128, 255], rng.integers(1, 5)).astype(np.uint8).tobytes()
    changed[start : start + len(values)] = values
    return bytes(changed)


def huge_number(file, rng):
    """Write a number that is too large, in any width and order, near the head, where sizes are."""
    layout = ["<H", ">H", "<I", ">I"][rng.integers(4)]
    number = struct.pack(layout, min(BIG[rng.integers(len(BIG))], (1 << 8 * struct.calcsize(layout)) - 1))
    at = int(rng.integers(0, max(1, min(len(file), 250) - 4)))
    return file[:at] + number + file[at + len(number) :]


def spliced(file, rng):
    a, b = sorted(rng.integers(0, len(file) + 1, 2))
    c = int(rng.integers(0, len(file) + 1))
    ways = file[:a] + file[b:], file[:c] + file[a:b] + file[c:], file[:a] + rng.bytes(b - a) + file[b:]
    return ways[rng.integers(3)]


def rechunked(file, rng):
    """Change a PNG file in its chunks and mend the checksums, so that the damage reaches the decoders."""
    if not file.startswith(PNG):
        return flipped(file, rng)
    pairs = chunks(file)
    at = int(rng.integers(len(pairs)))
    kind, data = pairs[at]
    match rng.integers(8):
        case 0:
            del pairs[at]
        case 1:
            pairs.insert(int(rng.integers(len(pairs) + 1)), [kind, data])
        case 2:
            rng.shuffle(pairs)
        case 3:
            pairs[at][1] = data[: rng.integers(0, len(data) + 1)]
        case 4:
            pairs[at][1] = data + rng.bytes(int(rng.integers(1, 40)))
        case 5:
            name = CHUNKS[rng.integers(len(CHUNKS))].encode()
            pairs.insert(int(rng.integers(1, len(pairs) + 1)), [name, rng.bytes(int(rng.integers(60)))])
        case 6:
            header = bytearray(pairs[0][1])
            header[8 + rng.integers(5)] = rng.choice([0, 1, 2, 3, 4, 6, 8, 16, 32, 255])
            pairs[0][1] = bytes(header)
        case 7:
            body = bytearray(zlib.decompress(b"".join(data for kind, data in pairs if kind == b"IDAT")))
            for place in rng.integers(0, len(body), 6):
                body[place] = rng.integers(256)
            pairs = [pair for pair in pairs if pair[0] != b"IDAT"]
            pairs.insert(len(pairs) - 1, [b"IDAT", zlib.compress(bytes(body[: rng.integers(1, 2 * len(body))]))])
    return png(pairs)


def exif_junk(file, rng):
    """Replace the camera's notes by junk that begins as they do; one in four points back at itself."""
    head = [b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"][rng.integers(2)]
    loop = b"\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\x08\0\0\0"
    note = head + (loop if rng.integers(4) == 0 else rng.bytes(int(rng.integers(0, 120))))
    if file.startswith(PNG):
        pairs = [pair for pair in chunks(file) if pair[0] != b"eXIf"]
        return png([pairs[0], [b"eXIf", note], *pairs[1:]])
    if file.startswith(b"\xff\xd8"):
        body = b"Exif\0\0" + note
        return file[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + file[2:]
    at = max(file.find(b"II*\0", 1), file.find(b"EXIF"))
    return file[:at] + note + file[at + len(note) :] if at > 0 else extreme_bytes(file, rng)


def bombs():
    """Yield files that are small and grow when unpacked, and headers that claim far too much."""
    flood = zlib.compress(bytes(1 << 26), 9)
    header = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    body = [b"IDAT", zlib.compress(bytes(52))]
    notes = {b"zTXt": b"note\0\0" + flood, b"iTXt": b"note\0\1\0\0\0" + flood, b"iCCP": b"note\0\0" + flood}
    for kind, note in notes.items():
        yield png([[b"IHDR", header], [kind, note], body, [b"IEND", b""]])
        yield png([[b"IHDR", header], body, [kind, note], [b"IEND", b""]])
        yield png([[b"IHDR", header], *[[kind, note]] * 40, body, [b"IEND", b""]])
    yield png([[b"IHDR", header], [b"IDAT", flood], [b"IEND", b""]])
    most = (1 << 31) - 1
    for width, height in ((60_000, 60_000), (most, 1), (1, most), (most, most), (7000, 7000), (64_000_001, 1)):
        for depth, colour in ((8, 2), (16, 6), (1, 0), (16, 0), (8, 3)):
            size = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
            yield png([[b"IHDR", size], [b"PLTE", bytes(6)], body, [b"IEND", b""]])
    # 49 million see-through pixels that are all there, in 200 kB.
    packer = zlib.compressobj(1)
    rows = b"".join([packer.compress(b"\0" + b"\x40" * 28_000) for _ in range(7000)] + [packer.flush()])
    yield png([[b"IHDR", struct.pack(">IIBBBBB", 7000, 7000, 8, 6, 0, 0, 0)], [b"IDAT", rows], [b"IEND", b""]])


MUTATIONS = (truncated, wrong_magic, flipped, extreme_bytes, huge_number, spliced, rechunked, rechunked, exif_junk)
UNMENDED = ("flipped", "extreme_bytes", "huge_number")  # the checksums of a PNG file stay as they were


def hostile_files(count, seed=0):
    """Yield ``(what was done, good file or None, hostile file)``, ``count`` of them."""
    rng = np.random.default_rng(seed)
    good = list(good_files(rng).values())
    fixed = [("unchanged", file, file) for file in good] + [("junk", None, file) for file in JUNK]
    fixed += [("bomb", None, file) for file in bombs()]
    yield from fixed
    for i in range(count - len(fixed)):
        file, mutate = good[i % len(good)], MUTATIONS[i // len(good) % len(MUTATIONS)]
        yield mutate.__name__, file, mutate(file, rng)


def main(count, folder):
    from convtwist import images

    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (3 << 29), now + (3 << 29)))
    path, tally, faults, originals = folder / "mine.png", Counter(), [], {}
    for number, (what, good, file) in enumerate(hostile_files(count)):
        path.write_bytes(file)
        faulthandler.dump_traceback_later(60, exit=True)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                picture = images.load(path)
            except ValueError as error:
                text = str(error)
                kinds = ("not a picture", "too large", "max_pixels", "damaged", "empty", "beyond 16 bits", "0..1")
                kind = next((kind for kind in kinds if kind in text), "another reason")
                tally["refused: " + {"max_pixels": "too large"}.get(kind, kind)] += 1
                if not text.startswith(str(path)) or kind == "another reason":
                    faults.append([number, what, text])
                if what == "unchanged":
                    faults.append([number, what, text])
            except BaseException as error:
                faults.append([number, what, f"{type(error).__name__}: {error}"])
            else:
                tally["loaded"] += 1
                tally["loaded " + what] += 1
                fault = not_a_picture(picture)
                if what == "unchanged":
                    originals[file] = picture
                elif good and (what == "truncated" or (good.startswith(PNG) and what in UNMENDED)):
                    # A file cut short, or a PNG file whose checksums tell, loads as what it was or not at all.
                    if not np.array_equal(picture, originals[good]):
                        fault = f"loads as another picture than {good[:8]}"
                if fault:
                    faults.append([number, what, fault])
        told = "frames; the first one is used", "the colour profile of"
        strange = [str(one.message) for one in said if not any(words in str(one.message) for words in told)]
        if strange or path.read_bytes() != file or len(list(folder.iterdir())) != 1:
            faults.append([number, what, f"file changed, or said {strange}"])
        tally["files"] += 1
    faulthandler.cancel_dump_traceback_later()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"tally": tally, "faults": faults[:40], "count": len(faults), "peak": peak}))


def not_a_picture(picture):
    """Say what is wrong with an array that ``load`` returned, or nothing."""
    if picture.dtype not in (np.uint8, np.uint16, np.float32) or picture.ndim != 3 or picture.shape[2] != 3:
        return f"{picture.dtype} shaped {picture.shape}"
    if picture.size == 0 or picture.shape[0] * picture.shape[1] > 64_000_000 or not picture.flags.writeable:
        return f"size {picture.shape}, writeable {picture.flags.writeable}"
    if picture.dtype == np.float32 and not (np.isfinite(picture).all() and 0 <= picture.min() <= picture.max() <= 1):
        return "floats outside 0..1"
    return ""


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
