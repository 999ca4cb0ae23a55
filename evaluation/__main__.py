"""`python -m evaluation report RESULT.json`: the tear sheet of a run."""

from pathlib import Path

import click

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """What a run earned, and what that is evidence of."""


@main.command()
@click.argument("result", type=_FILE)
@click.option("--output", type=_FILE, help="The page; default: beside RESULT, with the ending .html.")
@click.option("--picture", type=_FILE, help="Also write equity and drawdown as a small SVG.")
def report(result: Path, output: Path | None, picture: Path | None) -> None:
    """Write the tear sheet of RESULT, the <id>.json of a LEAN backtest, as one HTML file that works offline."""
    # pandas and scipy take a moment to import; --help and bad arguments should not wait for them.
    from evaluation import tearsheet
    from evaluation.result import ResultError, read_result

    page = output or result.with_suffix(".html")
    try:
        run = read_result(result)
        pages = {page: tearsheet.tear_sheet(run)}
        if picture:
            pages[picture] = tearsheet.picture(run)
    except (ResultError, tearsheet.NothingToDraw) as error:
        raise SystemExit(f"Error: {error}") from None
    for path, text in pages.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SystemExit(f"Error: {path} cannot be written: {error.strerror}") from None
        click.echo(f"{path} ({len(text.encode()) / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
