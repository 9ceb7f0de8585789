"""Lists in all their formats, against what was written, the standard library and pytorchvideo."""

import csv
import dataclasses
import warnings

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pytorchvideo.data.labeled_video_paths import LabeledVideoPaths

from diffmae_video import InputError
from diffmae_video.data import (
    Entry,
    class_indices,
    class_names,
    read_list,
    write_list,
)
from diffmae_video.data.lists import check_first_files, count_files, read_kinetics
from diffmae_video.errors import InputWarning


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


# Any name that Linux allows, and any label but the empty one.
names = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=20)
stretches = st.just((0.0, None)) | st.tuples(st.floats(0, 99), st.none() | st.floats(100, 200))
rows = st.lists(st.tuples(names, stretches, st.none() | names), min_size=1, max_size=5)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows)
@example([("a\rb", (0.0, None), '"'), ("a//./b ", (0.0, None), " ")])
def test_what_is_written_is_read(tmp_path, rows):
    entries = [Entry(name, *stretch, label) for name, stretch, label in rows]
    write_list(tmp_path / "list.csv", entries)
    expected = [dataclasses.replace(e, path=e.path if e.path[0] == "/" else f"/r/{e.path}") for e in entries]
    assert read_list(tmp_path / "list.csv", root="/r") == expected
    with (tmp_path / "list.csv").open(encoding="utf-8", newline="") as file:  # a CSV file to others too
        assert [row["path"] for row in csv.DictReader(file)] == [e.path for e in entries]


def test_only_columns_in_use_are_written(tmp_path):
    write_list(tmp_path / "list.csv", [Entry("a.mp4"), Entry("b, c.mp4")])
    assert (tmp_path / "list.csv").read_text() == 'path\na.mp4\n"b, c.mp4"\n'
    write_list(tmp_path / "list.csv", [Entry("a.mp4", label="run"), Entry("b.mp4", 1.5)])
    assert (tmp_path / "list.csv").read_text() == "path,start,label\na.mp4,,run\nb.mp4,1.5,\n"


def test_a_name_that_is_not_unicode_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"list\.csv: a file name is not valid UTF-8"):
        write_list(tmp_path / "list.csv", [Entry("caf\udce9.mp4")])
    assert not list(tmp_path.iterdir())


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.text(st.sampled_from("ab /é語,'\"\t#"), max_size=12).map(lambda s: f"x{s}.MP4"),
            st.integers(0, 999),
        ),
        min_size=1,
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
)
def test_lines_are_read_as_pytorchvideo_reads_them(tmp_path, rows, ending, mark):
    path = tmp_path / "list.txt"
    plain = "".join(f"{name} {label}{ending}" for name, label in rows).encode()
    path.write_bytes(plain)
    expected = LabeledVideoPaths.from_csv(str(path))
    path.write_bytes(mark.encode() + plain)  # pytorchvideo knows no byte order mark
    got = read_list(path, root="/videos")
    assert [e.path for e in got] == [f"/videos/{expected[i][0]}" for i in range(len(rows))]
    assert [int(e.label) for e in got] == [expected[i][1]["label"] for i in range(len(rows))]


def test_folder_per_class_is_read_as_pytorchvideo_reads_it(tmp_path):
    for name in ("b run/2.mp4", "b run/1 é.mp4", "a/10.avi", "a/more/x.mp4", "ü/語.mp4"):
        touch(tmp_path / name)
    touch(tmp_path / "a/notes.txt", tmp_path / "a/._10.avi")
    entries = read_list(tmp_path)
    expected = LabeledVideoPaths.from_directory(str(tmp_path))
    names = class_names(entries)
    assert names == ["a", "b run", "ü"]
    got = sorted(zip([e.path for e in entries], class_indices(entries, names), strict=True))
    pairs = sorted((expected[i][0], expected[i][1]["label"]) for i in range(len(expected)))
    assert got == [(path, label) for path, label in pairs if "._" not in path]


@pytest.mark.parametrize(
    "names", [("1.mp4", "2.mp4"), ("all/1.mp4", "all/2.mp4"), ("1.mp4", "a/2.mp4", "b/3.mp4")]
)
def test_other_folders_have_no_labels(tmp_path, names):
    touch(*(tmp_path / name for name in names))
    assert read_list(tmp_path) == [Entry(str(tmp_path / name)) for name in names]


def test_images_are_found_when_asked_for(tmp_path):
    touch(tmp_path / "n01/a.JPEG", tmp_path / "n02/b.png", tmp_path / "n02/c.webm")
    assert [e.path for e in read_list(tmp_path)] == [str(tmp_path / "n02/c.webm")]
    assert [e.label for e in read_list(tmp_path, images=True)] == ["n01", "n02", "n02"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("label,path\nrun,a b.mp4\n", [Entry("/r/a b.mp4", label="run")]),
        ("path\tlabel\na, b.mp4\tlong jump\n", [Entry("/r/a, b.mp4", label="long jump")]),
        ("end\tpath\tstart\n2\ta.mp4\t\n\n\tb.mp4\t1\n", [Entry("/r/a.mp4", 0, 2), Entry("/r/b.mp4", 1)]),
        ('"path","label"\r\n"a ""b"".mp4","1"\r\n', [Entry('/r/a "b".mp4', label="1")]),
        ("\ufeffpath,label\r\na.mp4,\r\n/b.mp4,x\r\n", [Entry("/r/a.mp4"), Entry("/b.mp4", label="x")]),
        ("a b.mp4 3\n\nc.jpeg   12 \n", [Entry("/r/a b.mp4", label="3"), Entry("/r/c.jpeg", label="12")]),
        ("a b.mp4\nc.webm", [Entry("/r/a b.mp4"), Entry("/r/c.webm")]),
        ("語 é.mp4\tслово\n", [Entry("/r/語 é.mp4", label="слово")]),
    ],
)  # fmt: skip
def test_tables_and_lines(tmp_path, text, expected):
    (tmp_path / "list").write_bytes(text.encode())
    assert read_list(tmp_path / "list", root="/r") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,path\na.mp4,b.mp4\n", "line 1: expected the header"),
        ("label\tpath\nx\ta.mp4\nb.mp4\n", "line 3: has 1 fields, expected 2"),
        ('path,label\n"a.mp4,x\nb.mp4,y\n', "line 3: unexpected end of data; is a quote missing?"),
        ("path,label\n,x\n", "line 2: the path is empty"),
        ("path,start\na.mp4,nan\n", "line 2: start nan s and end None s do not delimit"),
        (
            "a.mp4 1\nb 2\n",
            "line 2: expected 'path label', 'path,label' or 'path', with a path that ends in .mp4",
        ),
        ("b,1\n", "line 1: expected 'path label'.* need the header path,start,end,label"),
        ("a.mp4,1\nb.mp4\n", "line 2: has 1 fields, expected 2"),
        ("a.mp4,0,3,1\n", "line 1: has 4 fields, expected 2"),
        ("a.mp4 1\n\nb.mp4\n", "line 3: no label, unlike the lines above"),
        ("a.mp4\nb.mp4 1\n", "line 2: a label, unlike the lines above"),
        (
            "label,youtube_id,time_start,time_end,split\nx,abc,1,soon,train\n",
            "line 2: time_start and time_end",
        ),
    ],
)
def test_bad_lists_name_file_and_line(tmp_path, text, message):
    touch(tmp_path / "v.mp4")
    (tmp_path / "my list.csv").write_text(text)
    with pytest.raises(InputError, match=rf"my list\.csv: {message}"):
        read_list(tmp_path / "my list.csv")


def test_what_is_not_a_list_is_named(tmp_path, real_clips):
    (tmp_path / "list.csv").write_bytes(real_clips["bikes"].read_bytes())
    (tmp_path / "empty.csv").write_text("\n")
    for path, message in (
        (tmp_path / "list.csv", "is not a text file"),
        (tmp_path / "none.csv", "cannot be read .No such file"),
        (tmp_path / "empty.csv", "the list is empty"),
        (real_clips["bikes"], "is a video or picture; give its folder"),
    ):
        with pytest.raises(InputError, match=f"{path.name}: {message}"):
            read_list(path)


@pytest.mark.parametrize("text", ["path,label\né.mp4,wäsche\n", "é.mp4 wäsche\n"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path, text, encoding, line_end):
    (tmp_path / "list.csv").write_bytes(text.replace("\n", line_end).encode(encoding))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_list(tmp_path / "list.csv", "/r") == [Entry("/r/é.mp4", label="wäsche")]


def test_latin_1_is_read_with_a_warning(tmp_path):
    (tmp_path / "list.csv").write_bytes("path,label\né.mp4,wäsche\n".encode("latin-1"))
    with pytest.warns(InputWarning, match=r"list\.csv: is not UTF-8 and was read as Windows-1252"):
        assert read_list(tmp_path / "list.csv", "/r") == [Entry("/r/é.mp4", label="wäsche")]


RUNS = [Entry("/r/a b.mp4", label="run"), Entry("/r/c.MOV", label="long jump")]


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na b.mp4,run\nc.MOV,long jump\n",
        "path, label\na b.mp4, run\nc.MOV, long jump\n",
        "path , label ,\n a b.mp4 , run ,\nc.MOV , long jump,\n,,\n",
        'Path,Label\n"a b.mp4", "run"\nc.MOV ,long jump\n',
        "path;label\na b.mp4;run\nc.MOV;long jump;\n",
        "a b.mp4,run\nc.MOV,long jump\n",
        "a b.mp4, run,\n\nc.MOV , long jump ,\n",
        '"a b.mp4","run"\n"c.MOV","long jump"\n',
        "a b.mp4\trun\nc.MOV\tlong jump\n",
        "a b.mp4;run\nc.MOV;long jump\n",
        "a b.mp4 run\nc.MOV long jump\n",
    ],
)
def test_tables_as_people_write_them(tmp_path, text):
    (tmp_path / "list").write_text(text)
    assert read_list(tmp_path / "list", "/r") == RUNS


def test_lines_may_end_in_a_comma_without_labels(tmp_path):
    (tmp_path / "list").write_text("a, b.mp4\nc.mp4\n")
    assert read_list(tmp_path / "list", "/r") == [Entry("/r/a, b.mp4"), Entry("/r/c.mp4")]
    (tmp_path / "list").write_text("a.mp4,\nb.mp4 ,\n")
    assert read_list(tmp_path / "list", "/r") == [Entry("/r/a.mp4"), Entry("/r/b.mp4")]


def test_a_root_maps_the_paths_of_a_disk_that_has_moved(tmp_path):
    listed = tmp_path / "list.csv"
    listed.write_text("path\n/old/disk/a=b/1.mp4\n/old/disk2/2.mp4\n3.mp4\n")
    for root in ("/old/disk=/new", "/old/disk/=/new/"):
        names = [entry.path for entry in read_list(listed, root)]
        assert names == ["/new/a=b/1.mp4", "/old/disk2/2.mp4", str(tmp_path / "3.mp4")]
    assert read_list(listed, "/old=")[0].path == "/disk/a=b/1.mp4"
    with pytest.raises(InputError, match=r"no path starts with /other/, .* one is /old/disk/a=b/1\.mp4"):
        read_list(listed, "/other=/new")
    (tmp_path / "a=b").mkdir()  # a folder of this name
    assert read_list(listed, tmp_path / "a=b")[2].path == str(tmp_path / "a=b/3.mp4")
    listed.write_text("path\n3.mp4\n")
    assert read_list(listed, "/other=/new") == [Entry(str(tmp_path / "3.mp4"))]


KINETICS = """label,youtube_id,time_start,time_end,split,is_cc
petting animal (not cat),-abc_DEF123,3,13,train,0
"making, eating",xyz,120,130,train,1
abseiling,lost1,0,10,train,0
abseiling,flat,7,17,train,0
"""


@pytest.mark.parametrize("folders", ["{}", "{}_", "flat"])
def test_kinetics_own_csv(tmp_path, folders):
    def folder(label):
        return {"{}": f"{label}/", "{}_": label.replace(" ", "_") + "/", "flat": ""}[folders]

    videos = tmp_path / "k400" / "train"
    paths = [videos / f"{folder('petting animal (not cat)')}-abc_DEF123_000003_000013.mp4",
             videos / f"{folder('making, eating')}xyz_000120_000130.mkv",
             videos / "flat_000007_000017.mp4"]  # fmt: skip
    touch(*paths, videos / "z again" / paths[0].name)  # of two of one name, the first
    (tmp_path / "train.csv").write_text(KINETICS)
    labels = ["petting animal (not cat)", "making, eating", "abseiling"]
    expected = [Entry(str(path), label=label) for path, label in zip(paths, labels, strict=True)]
    assert read_kinetics(tmp_path / "train.csv", videos) == (expected, ["lost1_000000_000010"])
    with pytest.warns(InputWarning, match="1 of 4 videos are missing and left out: lost1_000000_000010"):
        assert read_list(tmp_path / "train.csv") == expected


def test_kinetics_without_labels_or_without_any_video(tmp_path):
    (tmp_path / "test.csv").write_text("youtube_id,time_start,time_end,split\nabc,1,11,test\n")
    touch(tmp_path / "other.mp4")
    with pytest.raises(
        InputError,
        match=r"own list, and none of its 1 videos, such as abc_000001_000011\.mp4, is in .*DATA\.ROOT",
    ):
        read_list(tmp_path / "test.csv")
    touch(tmp_path / "abc_000001_000011.mp4")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_list(tmp_path / "test.csv") == [Entry(str(tmp_path / "abc_000001_000011.mp4"))]
    (tmp_path / "list.csv").write_text("path\na.mp4\n")
    with pytest.raises(InputError, match="expected the columns youtube_id, time_start, time_end of Kinetics"):
        read_kinetics(tmp_path / "list.csv")


def test_list_paths_are_relative_to_the_list_and_folders_are_lists(tmp_path, real_clips):
    (tmp_path / "list.csv").write_text("path\nsub/a b.mp4\n")
    assert read_list(tmp_path / "list.csv") == [Entry(str(tmp_path / "sub/a b.mp4"))]
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a b.mp4").symlink_to(real_clips["bikes"])
    assert read_list(tmp_path) == [Entry(str(tmp_path / "sub/a b.mp4"))]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.mp4"], "1 video"),
        (["a.JPG", "b.png"], "2 pictures"),
        (["a.mp4", "b.gif", "c.webp"], "2 videos and 1 picture"),
        ([], "0 videos"),
    ],
)
def test_files_are_counted_by_their_kind(names, expected):
    assert count_files([Entry(name) for name in names]) == expected


def test_the_first_files_are_looked_for(tmp_path):
    touch(tmp_path / "a.mp4", tmp_path / "b.mp4")
    there, missing = (
        [Entry(str(tmp_path / name)) for name in names] for names in (("a.mp4", "b.mp4"), ("c.mp4",))
    )
    assert check_first_files(there) == ""
    assert check_first_files(there * 60 + missing, count=2) == ""
    told = check_first_files([*there, *missing, *missing])
    assert told.startswith(f"1 of the first 3 files do not exist, such as {tmp_path / 'c.mp4'}")
    with pytest.raises(InputError, match=r"1 of the first 1 files do not exist.* DATA\.ROOT .*old=new"):
        check_first_files(missing)
