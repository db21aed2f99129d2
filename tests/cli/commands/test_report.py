"""The page of a run: complete, in one file, and true to the run; nothing that a name says is code."""

import html
import re
import shutil
import subprocess
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import rtp
from rtp.cli import main
from rtp.cli.commands.export import load_memory
from rtp.cli.commands.report.command import report
from rtp.cli.commands.report.content import gathered, ticks, validation_curve
from rtp.cli.commands.report.page import curve_of, rendered
from rtp.errors import UserError

CONF = Path(__file__).parents[2] / "conf"
BARS = ["--trainer.enable_progress_bar", "false"]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "run"
    main(["fit", "--config", str(CONF / "addressable.yaml"), "--run_dir", str(folder), *BARS])
    main(["test", "--ckpt_path", str(folder / "best.ckpt"), "--evaluation.baselines", "true", *BARS])
    return folder


class Page(HTMLParser):
    """Tags, texts and pictures of a page; refuses tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.texts, self.pictures = list[str](), list[str](), list[str](), list[bytes]()
        self.links: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "line", "br"):
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href"):
                self.links.append(value or "")
        if tag == "img":
            source = dict(attributes)["src"] or ""
            assert source.startswith("data:image/png;base64,")
            self.pictures.append(b64decode(source.partition(",")[2]))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def test_a_page_says_what_was_distilled_how_well_and_how_to_repeat_it(run: Path, tmp_path: Path) -> None:
    report([str(run), "--out", str(tmp_path / "page.html")])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    for heading in ("Results on the test images", "Learning", "What each class recalls", "Bases", "Repeat it"):
        assert heading in page.texts
    assert "digits in 2,432 bytes" in page.texts
    for cell in ("distilled", "random real", "herding", "class means", "all real", "2,432", "1,946"):
        assert cell in page.texts
    assert not any(link for link in page.links if not link.startswith("data:"))
    assert "script" not in page.tags
    assert len(page.pictures) == 10 + 2  # of the classes; bases and similarity map
    for picture in page.pictures:
        assert Image.open(BytesIO(picture)).size[0] > 40
    # what it says to repeat is a configuration of the same run, without this computer's folders
    settings = yaml.safe_load(next(text for text in page.texts if "seed_everything: 0" in text))
    assert settings["trainer"]["max_steps"] == 4
    assert settings["model"]["init_args"]["memory"]["init_args"]["num_bases"] == 8
    assert str(tmp_path.parent) not in text
    again = tmp_path / "settings.yaml"
    again.write_text(yaml.safe_dump(settings))
    main(["fit", "--config", str(again), "--run_dir", str(tmp_path / "again"), "--trainer.max_steps", "2", *BARS])


def test_the_curve_is_of_the_validations(run: Path) -> None:
    points = validation_curve(run)
    assert [step for step, _ in points] == [2, 4]
    memory = load_memory(run / "best.ckpt", [])
    best = next(accuracy.mean for accuracy in memory.accuracies if accuracy.split == "validation")
    assert max(value for _, value in points) == pytest.approx(best, abs=1e-6)


def test_a_curve_by_hand() -> None:
    curve = curve_of([(100, 0.5), (200, 0.9)])
    assert curve is not None
    # 640 wide with 48 and 12 beside, 240 high with 12 above and 32 below; the ticks 50, 60, ..., 90 bound it
    assert curve.points == "338.0,208.0 628.0,12.0"
    assert curve.y_ticks[0] == (208.0, "50")
    assert curve.y_ticks[-1] == (12.0, "90")
    assert curve.best == 1
    assert curve.dots[1][2] == "90.00 % at step 200"
    assert curve_of([(100, 0.5)]) is None
    assert curve_of([(1, 0.5), (2, 0.5)]) is not None  # level


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [(50, 90, 4, [50, 60, 70, 80, 90]), (0, 700, 6, [0, 200, 400, 600]), (93.0, 96.7, 4, [93, 94, 95, 96])],
)
def test_ticks_are_round(low: float, high: float, most: int, expected: list[float]) -> None:
    assert ticks(low, high, most) == expected


def test_names_are_text_whatever_they_say(tmp_path: Path) -> None:
    memory = rtp.load("digits_ipc1")
    names = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "名前", *memory.class_names[3:])
    description = replace(memory.description, class_names=names, dataset="<b>mine</b>")
    text = rendered(gathered(replace(memory, description=description), None))
    page = Page(text)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert set(names[:3]) <= set(page.texts)
    assert html.escape(names[0]) in text
    assert len(page.pictures) == 12


def test_a_memory_alone_has_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report(["digits_ipc1"])
    page = Page(Path("report.html").read_text(encoding="utf-8"))
    assert "Learning" not in page.texts
    assert any("95.33 ± 0.65 %" in text for text in page.texts)
    with pytest.raises(UserError, match=r"^'report.html' exists: choose another name, or replace it with --overwrite"):
        report(["digits_ipc1"])
    report(["digits_ipc1", "--overwrite"])


@pytest.mark.parametrize("kind", ["image_addressing", "tasks"])
def test_memories_of_other_kinds_have_a_page(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    main(["fit", "--config", str(CONF / f"{kind}.yaml"), "--run_dir", str(folder), *BARS])
    report([str(folder)])
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert ("What each class recalls" in page.texts) == (kind == "tasks")
    assert len(page.pictures) == (12 if kind == "tasks" else 1)


def test_what_is_no_run_is_a_line(run: Path, tmp_path: Path) -> None:
    def copy(name: str, content: str) -> Path:
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        shutil.copy(run / "best.ckpt", folder)
        (folder / name).write_text(content)
        return folder

    cases: list[tuple[Any, str]] = [
        (tmp_path, r"^the folder .* has no best.ckpt: give the folder of a run that was validated$"),
        ("no_such", r"^'no_such' is no file, and rtp ships no such memory"),
        (copy("test.json", "{"), r"damaged"),
        (copy("config.yaml", "a: ["), r"config.yaml is damaged"),
    ]
    for given, message in cases:
        with pytest.raises(UserError, match=message) as error:
            report([str(given)])
        assert "\n" not in str(error.value)


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium")
@pytest.mark.parametrize("width", [1100, 500])
def test_a_browser_shows_all_of_it_at_the_width_of_a_desk_and_a_phone(run: Path, tmp_path: Path, width: int) -> None:
    report([str(run), "--out", str(tmp_path / "page.html")])
    probe = (tmp_path / "page.html").read_text(encoding="utf-8")
    # a script of the test's own reports what was laid out
    probe = re.sub(r"<meta http-equiv.*?>", "", probe).replace(
        "</body>",
        "<script>document.title = JSON.stringify([document.documentElement.scrollWidth, innerWidth, "
        "[...document.images].every(i => i.naturalWidth > 0)])</script></body>",
    )
    (tmp_path / "probe.html").write_text(probe, encoding="utf-8")
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--dump-dom"),
        f"file://{tmp_path / 'probe.html'}",
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    shown = re.search(r"<title>\[(\d+),(\d+),(true|false)\]</title>", dom)
    assert shown is not None
    assert int(shown[1]) <= int(shown[2]) <= width  # nothing is wider than the window
    assert shown[3] == "true"
