"""The command ``luchina``: demo, predict, explain, info, cache.

rich and typer draw the screen; nothing else in luchina imports them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

try:
    import typer
    from rich.console import Console
    from rich.text import Text
except ImportError as error:  # pragma: no cover
    sys.exit(f"the command line needs rich and typer ({error}): pip install rich typer")

app = typer.Typer(add_completion=False, no_args_is_help=True, help="PyTorch's API on a small compiler of its own.")
console = Console()


def fail(message: str) -> NoReturn:
    """End with an error in one line, as long as it may be: a path or a file's own words are no markup."""
    line = Text.assemble(("error: ", "bold red"), " ".join(message.split()))
    Console(stderr=True).print(line, soft_wrap=True)
    raise typer.Exit(1)


@app.command()
def demo(
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training data.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 64,
    lr: Annotated[float, typer.Option(help="Learning rate at the start.")] = 3e-3,
    seed: Annotated[int, typer.Option(help="Seed of split, weights and shuffling.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads; all cores by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint.")] = Path("runs"),
    device: Annotated[str, typer.Option(help="Where to train: cpu, opencl, cuda, cuda:1 …")] = "cpu",
) -> None:
    """Train a small convolutional network on handwritten digits."""
    from luchina.commands.demo import run

    try:
        run(console, epochs, batch_size, lr, seed, threads, out, device)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        fail(str(error))


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint that `luchina demo` saved.")],
    image: Annotated[Path, typer.Argument(help="A picture of a digit: PNG, JPEG …")],
) -> None:
    """Say which digit a picture shows."""
    from luchina.commands.predict import run

    try:
        run(console, checkpoint, image)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        fail(str(error))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def explain(
    context: typer.Context,
    script: Annotated[Path | None, typer.Argument(help="A Python program that uses luchina.")] = None,
    ir: Annotated[bool, typer.Option("--ir", help="Show the LLVM IR of every kernel.")] = False,
    asm: Annotated[bool, typer.Option("--asm", help="Show the assembly of every kernel.")] = False,
    number: Annotated[
        str | None, typer.Option("--float", metavar="NUMBER", help="Show a number's bits in each format instead.")
    ] = None,
) -> None:
    """Run a script and show its programs: kernels, what was fused, bytes, FLOPs, times. Or show a number's bits."""
    if number is not None:
        if script is not None or ir or asm:
            fail("--float stands alone: give a number or a script, not both")
        return show_number(number)
    if script is None:
        fail("nothing to explain: give a script, or a number with --float")
    from luchina.graph.explain import run_script

    if not script.is_file():
        fail(f"no such file: {script}")
    run_script(str(script), context.args, ir=ir, asm=asm)


def show_number(text: str) -> None:
    """A table of a number's sign, exponent and fraction in every floating format."""
    from luchina import formats

    try:
        rows = formats.table(text)
    except ValueError as error:
        fail(str(error))
    for stored, what in rows:
        f = stored.format
        console.print(
            f"[bold]{f.name}[/]  {stored.sign} [yellow]{stored.exponent_text}[/] [cyan]{stored.fraction_text}[/]\n"
            f"      0x{stored.pattern:0{f.bits // 4}x} = {stored.formula} = [bold]{formats.decimal(stored.value)}[/]\n"
            f"      rounding: {what}",
            highlight=False,
        )
    console.print("sign, [yellow]exponent[/], [cyan]fraction[/]", highlight=False)


@app.command()
def info() -> None:
    """Version, processor, threads, cache."""
    import platform

    import luchina
    from luchina.compiler.target import host
    from luchina.runtime import accelerators, cache

    target = host()
    size = sum(size for _, size, _ in cache.entries())
    rows: list[tuple[str, Any]] = [
        ("luchina", luchina.__version__),
        ("Python", platform.python_version()),
        ("target", f"{target.name} ({target.vector_bits}-bit vectors)"),
        ("threads", luchina.get_num_threads()),
        *zip(["devices", *[""] * 99], accelerators.descriptions()),
        ("kernel cache", f"{cache.directory() or 'off'} ({size / 1e6:.1f} MB)"),
    ]
    for name, value in rows:
        console.print(Text(f"{name:14}{value}"), soft_wrap=True)


cache_app = typer.Typer(no_args_is_help=True, help="The kernels kept on disk.")
app.add_typer(cache_app, name="cache")


@cache_app.command("clear")
def cache_clear() -> None:
    """Delete every kept kernel."""
    from luchina.runtime import cache

    folder = cache.directory()
    if folder is None:
        fail("no kernels are kept on disk: LUCHINA_CACHE is off")
    console.print(f"{cache.clear()} kernels removed from {folder}", markup=False, soft_wrap=True)


def main() -> None:
    """Entry of the command."""
    app()


if __name__ == "__main__":
    main()
