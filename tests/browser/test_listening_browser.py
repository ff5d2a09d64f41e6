"""A listening test in a real browser: a script listens, rates by a rule, comes back, and is scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sonotrain.evaluation.listening.build import ListenOptions, build_test
from sonotrain.evaluation.listening.score import score_files

pytestmark = pytest.mark.browser
RULE = {"good": 4, "bad": 2}


@pytest.fixture(scope="module")
def test_page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("listening")
    time = np.arange(3200) / 16_000
    for index, name in enumerate(("dog-1", "door-1")):
        for place in ("references", f"made/good/{name}", f"made/bad/{name}"):
            file = folder / place / f"{name if place == 'references' else 'one'}.wav"
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, 0.3 * np.sin(6.283 * (300 + 200 * index) * time), 16_000)
    return build_test(folder, ListenOptions(variations=1, out=str(folder / "test"), title="Dogs & doors"))


def rating_of(trial: dict[str, str]) -> int:
    return {"reference": 5, "anchor": 1, "practice": 3}.get(trial["kind"]) or RULE[trial["method"]]


def asked(page: Any, key: dict[str, Any]) -> dict[str, str]:
    return key["trials"][page.evaluate("state.order[state.at]")]


def listen(page: Any) -> None:
    for what in "rv":
        page.keyboard.press(what)
        page.wait_for_function(f"answer().plays[{'rv'.index(what)}] > 0")


def test_a_script_that_listens_and_rates_is_scored_as_it_rated(
    test_page: tuple[Path, Path], browser: Any, tmp_path: Path
) -> None:
    file, place = test_page
    key = json.loads(place.read_text())
    context = browser.new_context(accept_downloads=True, color_scheme="dark")
    page = context.new_page()
    told: list[str] = []
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on(
        "request",
        lambda request: request.url.startswith(("file:", "data:", "blob:")) or told.append(request.url),
    )
    page.goto(file.as_uri())
    page.fill("#name", "Ada <b>")
    page.press("#name", "Enter")
    assert "not counted" in page.inner_text(".badge"), "practice comes first"
    assert page.is_disabled("[data-rating='3']") and page.is_disabled("#next"), "nothing is rated unheard"
    total = len(key["trials"])
    for number in range(total):
        trial = asked(page, key)
        if number in (total // 2, total // 2 + 1):  # the page is left in the middle, and come back to
            if number > total // 2:  # as Chromium, when busy, now and then does to a file that is reloaded
                page.evaluate("localStorage.clear()")
            page.reload()
            assert f"{number} of {total} done" in page.inner_text("#begin")
            page.click("#begin")
            assert asked(page, key) == trial
        listen(page)
        if number == 1:
            page.keyboard.press("Backspace")
            assert page.get_attribute("[data-rating='3']", "aria-pressed") == "true", "practice was kept"
            page.keyboard.press("Enter")
            listen(page)
        if number % 2:
            page.keyboard.press(str(rating_of(trial)))
        else:
            page.click(f"[data-rating='{rating_of(trial)}']")
        if trial["method"] == "bad":
            page.keyboard.press("g")  # duller
        page.keyboard.press("Enter")
    assert page.inner_text("h1") == "Thank you"
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "ada.csv")
    context.close()
    assert told == []
    result = score_files([tmp_path / "ada.csv"], place)
    assert {name: one["mean"] for name, one in result["methods"].items()} == RULE
    assert result["methods"]["bad"]["words"] == {"duller": 2}
    assert result["hidden"]["reference"]["mean"] == 5 and result["hidden"]["anchor"]["mean"] == 1
    assert result["listeners"][0]["name"] == "Ada b" and result["said"] == []


def test_it_fits_a_phone_and_every_listener_has_an_order_of_their_own(
    test_page: tuple[Path, Path], browser: Any
) -> None:
    orders = []
    for _ in range(3):
        context = browser.new_context(viewport={"width": 360, "height": 700}, has_touch=True)
        page = context.new_page()
        page.goto(test_page[0].as_uri())
        page.click("#begin")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        smallest = page.evaluate(
            "Math.min(...[...document.querySelectorAll('.sounds button, .scale button')]"
            ".map((button) => button.getBoundingClientRect().height))"
        )
        assert smallest >= 40
        orders.append(page.evaluate("state.order.join()"))
        context.close()
    assert len(set(orders)) > 1
    firsts = {order.split(",")[0] for order in orders}
    assert len(firsts) == 1, "practice comes first for all"
