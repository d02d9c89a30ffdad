"""`make demo`: from a folder of photos to dense features, through the service, with pictures of what came out."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    # Run as a file rather than with -m: the package is not where Python looks.
    sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402 - behind the line that lets Python find the package
from rich.console import Console  # noqa: E402

from detco_client import ClientError, DetcoClient  # noqa: E402
from detco_client.cli.output import table  # noqa: E402
from examples.demo import charts, contact, crops, journey, pictures, report  # noqa: E402
from examples.demo.photos import NoPhotos, Photos, find_photos, upright  # noqa: E402
from examples.demo.service import Service, ServiceTrouble  # noqa: E402

OUT = ROOT / "demo"
FEATURED = ("flowers5", (0.27, 0.3))
"""The photo of the committed choice that is pictured, and the point that is compared with: x, y as shares."""
SHORT_SIDE = 448
"""The pictured photo's short side as the network sees it, in pixels."""
LOG_LINES = 30


class Demo:
    """The parts of the demo, timed and announced."""

    def __init__(self, console: Console, out: Path) -> None:
        self.console = console
        self.out = out
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str, words: str) -> Iterator[None]:
        """Announce a part, and remember how long it took."""
        self.console.print(f"\n[bold]{len(self.seconds) + 1}  {name}[/]  [dim]{words}[/]")
        began = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - began

    def say(self, words: str) -> None:
        self.console.print(f"   {words}", markup=False)

    def run(self) -> str:
        """The whole of it; returns the summary."""
        with self.part("Photos", "gather them, and cut labelled crops from them for the evaluation"):
            photos = find_photos(self.out / "photos")
            classes = crops.cut_crops(photos.files, self.out / "crops")
            contact.draw_contact_sheet(photos.files, self.out / "photos.png", photos.origin)
            self.say(photos.origin)
        roots = (self.out, photos.folder)
        with Service(self.out / "data", self.out / "service.log", roots) as service, service.client() as client:
            story = self.with_service(client, photos, classes)
        return report.write_summary(story, self.out / "summary.md", self.out / "data")

    def with_service(self, client: DetcoClient, photos: Photos, classes: int) -> report.Story:
        """Everything that goes through the API."""
        with self.part("Service", f"embedded, at {client.url}; its log is {self.out.name}/service.log"):
            usable = journey.register(client, "photos", photos.folder)
            journey.register(client, "crops", self.out / "crops", "labelled")
            self.say(f"photos@1: {usable} images; crops@1: {classes} classes")
        with self.part("Pretraining", "DetCo on ResNet-18; g2g and l2l may rise while the queues fill, then fall"):
            runs = journey.submit(client, usable)
            floor = journey.submit_random(client)
            runs = journey.train(client, runs, self.console)
            curves = journey.curves(client, runs.trained["id"])
            queue = runs.trained["config"]["method"]["queue_size"]
            charts.draw_losses(curves, queue, self.out / "losses.png")
            self.console.print(table("", ["start, highest, end", *report.STAGES], report.loss_rows(curves)))
            self.say(report.queue_note(queue))
        with self.part(
            "Evaluation", "kNN: which photo is a crop of? Class = photo, train and val from separate halves"
        ):
            scores = journey.evaluate(client, runs.trained["id"], floor["id"])
            self.say(f"trained {report.top1(scores.trained):.1f} %, random {report.top1(scores.random):.1f} %")
            self.say(report.verdict(scores))
        with self.part("Model", "export to ONNX and torchvision, compare with torch, promote to production"):
            version = journey.export(client, runs)
            self.say(f"{version['ref']} is {version['state']}, weights {version['weights_digest']}")
        with self.part("Features", "all four levels of one photo, and pictures of them"):
            self.picture(client, photos, runs)
        return report.Story(photos.origin, usable, classes, runs, curves, scores, version, self.seconds)

    def picture(self, client: DetcoClient, photos: Photos, runs: journey.Runs) -> None:
        """Ask `/features` for one photo, of both models, and draw what it answers."""
        name, point = FEATURED
        photo = next((path for path in photos.files if path.stem == name), photos.files[0])
        point = point if photo.stem == name else (0.5, 0.5)
        after, before = (
            journey.features(client, photo, model, SHORT_SIDE) for model in (journey.MODEL, journey.BEFORE)
        )
        steps, *_ = report.how_far(runs.trained)
        with Image.open(photo) as image:
            compared = pictures.Compared(
                photo=upright(image),
                trained={level: array[0] for level, array in after.levels.items()},
                untrained={level: array[0] for level, array in before.levels.items()},
                strides=after.strides,
                names=(f"after {steps} steps", "random start"),
            )
        pictures.draw_features(compared, self.out / "features.png")
        pictures.draw_similarity(compared, point, self.out / "similarity.png")
        self.say(", ".join(f"{level} {list(array.shape)}" for level, array in after.levels.items()))


def clear(out: Path) -> None:
    """Forget an earlier demo, unless its service is still in use.

    Raises:
        ServiceTrouble: when it is.
    """
    service = Service(out / "data", out / "service.log", ())
    if service.answers():
        raise ServiceTrouble(f"a service runs on {service.data} at {service.url}: stop it first")
    shutil.rmtree(service.data, ignore_errors=True)


def main() -> int:
    """Run the demo; the exit code is 1 when any part of it failed."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 116)
    console.print("[bold]DetCo Server, the main job on real photos[/]")
    try:
        clear(OUT)
        summary = Demo(console, OUT).run()
    except (ClientError, NoPhotos, ServiceTrouble, OSError) as error:
        return failed(console, error)
    console.print(f"\n[bold green]Done.[/] Look into {OUT}:", highlight=False)
    console.print("   summary.md  features.png  similarity.png  losses.png  photos.png\n")
    console.print(summary.partition("## Where to look next")[2].strip(), markup=False)
    return 0


def failed(console: Console, error: Exception) -> int:
    """Say what went wrong and how the service's log ended."""
    console.print(f"\n[bold red]The demo failed:[/] {error}", highlight=False)
    if isinstance(error, ClientError) and error.remedy:
        console.print(f"   {error.remedy}", markup=False)
    log = OUT / "service.log"
    if log.exists():
        console.print(f"\nThe end of {log}:", style="dim")
        lines = log.read_text("utf-8", "replace").splitlines()
        console.print("\n".join(lines[-LOG_LINES:]), markup=False, style="dim")
    return 1


if __name__ == "__main__":
    sys.exit(main())
