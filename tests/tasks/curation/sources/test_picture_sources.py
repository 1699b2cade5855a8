"""The sources of images that are known by name: what is read, counted, captioned, and by which licence."""

import gzip
import io
import struct

import numpy as np
import pytest
from PIL import Image

from data_policies.licences import conclude
from tasks.curation.sources import open_source
from tasks.curation.sources.openclipart import metadata
from tasks.curation.sources.pictures import Digits, FashionMnist, Glyphs, OpenClipart
from tasks.errors import UserError

RDF = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><rdf:RDF>
<cc:Work rdf:about=""><dc:title>A  red
 jigsaw</dc:title><dc:subject><rdf:Bag><rdf:li/><rdf:li>jigsaw</rdf:li><rdf:li>shape</rdf:li><rdf:li>shape</rdf:li>
</rdf:Bag></dc:subject><dc:creator><cc:Agent><dc:title>Somebody</dc:title></cc:Agent></dc:creator>
<cc:license rdf:resource="{licence}"/></cc:Work></rdf:RDF></metadata><g>{rest}</g></svg>"""
PUBLIC, GPL = "http://web.resource.org/cc/PublicDomain", "http://creativecommons.org/licenses/GPL/2.0/"


def read(config):
    source = open_source(config)
    raws = list(source)
    assert source.read_count == len(raws)
    assert all(raw.media == "image" for raw in raws)
    return raws


def pixels(raw):
    return np.asarray(Image.open(io.BytesIO(raw.payload)))


def test_digits_are_those_of_the_wheel_under_its_licence():
    from sklearn.datasets import load_digits

    raws = read(Digits(first=50))
    digits = load_digits()
    for number, raw in enumerate(raws):
        assert (pixels(raw) == digits.images[number] * 255 // 16).all()
        assert raw.label == str(digits.target[number])
    assert conclude(raws[0].evidence).licence == "BSD-3-Clause"
    assert open_source(Digits(first=50)).digest() != open_source(Digits(first=49)).digest()


def test_glyphs_carry_their_names_and_their_fonts_are_groups():
    raws = read(Glyphs(fonts=("DejaVuSans", "DejaVuSerif"), ranges=("0041-0043", "E000-E001", "0378-0379")))
    assert [raw.locator for raw in raws[:3]] == [f"DejaVuSans/U+004{n}" for n in (1, 2, 3)]
    assert len(raws) == 6  # private and unassigned code points have no name
    assert raws[1].text == "latin capital letter b"
    assert {raw.group for raw in raws} == {"DejaVuSans", "DejaVuSerif"}
    assert all(pixels(raw).shape == (32, 32) and pixels(raw).min() == 0 for raw in raws)
    assert len({raw.payload for raw in raws}) == 6
    assert all(field == "file" and "Bitstream" in text for field, text in raws[0].evidence[:1])
    named = read(Glyphs(fonts=("DejaVuSans",), ranges=("0041-0041",), licence="Bitstream-Vera"))[0]
    assert conclude(named.evidence).licence == "Bitstream-Vera"
    with pytest.raises(UserError, match="no font"):
        open_source(Glyphs(fonts=("Comic*",)))


def idx(folder, part, images, labels):
    count, height, width = images.shape
    data = struct.pack(">IIII", 0x803, count, height, width) + images.tobytes()
    (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(data, mtime=0))
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, len(labels)) + bytes(labels))


def test_idx_files_and_what_a_broken_one_lacks(tmp_path):
    images = np.random.default_rng(2).integers(0, 256, (5, 7, 6), dtype=np.uint8)
    idx(tmp_path, "train", images, [0, 9, 3, 3, 1])
    config = FashionMnist(path=str(tmp_path), parts=("train",), licence="MIT")
    raws = read(config)
    assert [raw.label for raw in raws] == ["T-shirt", "ankle boot", "dress", "dress", "trouser"]
    assert all((pixels(raw) == image).all() for raw, image in zip(raws, images, strict=True))
    whole = open_source(config).digest()
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[: 16 + 3 * 42 + 5], mtime=0))
    raws = read(config)
    assert [raw.rule for raw in raws] == ["", "", "", "ingest.truncated"]
    assert (raws[-1].locator, raws[-1].detail) == ("train#tail", "2 of 5 images are missing")
    assert open_source(config).digest() != whole
    path.write_bytes(path.read_bytes()[:60])  # now the compression breaks off, too
    assert read(config)[-1].rule == "ingest.truncated"
    with pytest.raises(UserError, match="there is no t10k"):
        open_source(FashionMnist(path=str(tmp_path)))


def test_clip_art_by_the_rdf_beside_it(tmp_path):
    for kind in ("png", "svg"):
        (tmp_path / kind / "shapes").mkdir(parents=True)
    file = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(file, "PNG")
    for name, licence in (("free", PUBLIC), ("copyleft", GPL), ("unsaid", ""), ("alone", None), ("broken", PUBLIC)):
        (tmp_path / "png" / "shapes" / f"{name}.png").write_bytes(file.getvalue())
        if licence is not None:
            text = RDF.format(licence=licence, rest="&undefined;" if name == "free" else "")
            text = text[: len(text) // 2] if name == "broken" else text
            (tmp_path / "svg" / "shapes" / f"{name}.svg").write_text(text)
    (tmp_path / "png" / "shapes" / "link.png").symlink_to("free.png")
    (tmp_path / "png" / "shapes" / "out.png").symlink_to("/etc/hostname")
    raws = {
        raw.locator.removeprefix("shapes/").removesuffix(".png"): raw for raw in read(OpenClipart(path=str(tmp_path)))
    }
    found = {name: (conclude(raw.evidence).licence, conclude(raw.evidence).problem) for name, raw in raws.items()}
    assert found["free"] == ("LicenseRef-scancode-public-domain", "")  # what follows the metadata is not read
    assert found["copyleft"] == ("GPL-2.0-only", "")
    assert {found[name] for name in ("unsaid", "alone", "broken", "link")} == {("", "missing")}
    assert raws["free"].text == "A red jigsaw: jigsaw, shape"
    assert raws["broken"].text is None
    assert raws["free"].group == raws["link"].group == "png/shapes/free.png"
    assert raws["out"].rule == "ingest.empty"
    assert raws["out"].payload == b""
    assert raws["free"].label == "shapes"


def test_entities_that_grow_say_nothing():
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    svg = f'<!DOCTYPE svg [<!ENTITY a0 "ha">{laughs}]>' + RDF.format(licence=PUBLIC, rest="").partition("?>")[2]
    assert metadata(svg.replace("jigsaw</dc", "&a9;</dc").encode()).caption == ""
    outside = '<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/hostname">]>' + RDF.format(licence=PUBLIC, rest="")[22:]
    assert metadata(outside.replace("jigsaw</dc", "&a;</dc").encode()).caption in ("", "A red jigsaw: jigsaw, shape")
