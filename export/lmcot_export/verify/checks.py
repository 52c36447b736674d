"""What an export must have in common with its source; each check is a pure function."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from lmcot_cli.scoring.comparison import Comparison
from lmcot_cli.scoring.intervals import rows_to_decide
from lmcot_export.verify.divergence import Divergence
from lmcot_export.verify.options import Threshold
from lmcot_export.verify.report import Check
from lmcot_export.verify.subject import SpecialTokens

_SHOWN = 24  # characters of a text, and tokens, that a detail shows


def check_tokens(
    name: str, texts: Sequence[str], source: Sequence[list[int]], exported: Sequence[list[int]]
) -> Check:
    """Compare token ids, text by text."""
    wrong = [place for place, (one, other) in enumerate(zip(source, exported, strict=True)) if one != other]
    if not wrong:
        return Check(name, True, f"{len(texts)} texts give equal token ids, {sum(map(len, source))} tokens")
    first = wrong[0]
    at = next(i for i, (a, b) in enumerate(zip_longest(source[first], exported[first])) if a != b)
    return Check(
        name,
        False,
        f"{len(wrong)} of {len(texts)} texts give other token ids; the first, {_short(texts[first])}, from token {at}:"
        f" {_tokens(source[first][at:])} in the source, {_tokens(exported[first][at:])} in the export",
    )


def check_prompts(source: Sequence[str], exported: Sequence[str]) -> Check:
    """Compare rendered prompts, byte by byte."""
    wrong = [pair for pair in zip(source, exported, strict=True) if pair[0] != pair[1]]
    if not wrong:
        total = sum(len(text.encode()) for text in source)
        return Check("prompt bytes", True, f"{len(source)} prompts are rendered alike, {total} bytes")
    one, other = wrong[0]
    at = next(i for i, (a, b) in enumerate(zip_longest(one, other)) if a != b)
    return Check(
        "prompt bytes",
        False,
        f"{len(wrong)} of {len(source)} prompts are rendered otherwise, from character {at}:"
        f" {_short(one[at:])} in the source, {_short(other[at:])} in the export",
    )


def check_special_tokens(source: SpecialTokens, exported: SpecialTokens) -> Check:
    """Compare the control tokens.

    An export may know more tokens that end a text, and may name a first token that it never adds (llama.cpp has a
    default for it).
    """
    faults = [
        f"{what} is {_plain(ours)} in the source, {_plain(theirs)} in the export"
        for what, ours, theirs in (
            ("a chat template", source.has_template, exported.has_template),
            ("adding the beginning-of-text token", source.adds_bos, exported.adds_bos),
            ("adding the end-of-text token", source.adds_eos, exported.adds_eos),
            ("the end-of-text token", source.eos, exported.eos),
        )
        if ours != theirs
    ]
    if source.bos is not None and source.bos != exported.bos:
        faults.append(
            f"the beginning-of-text token is {source.bos} in the source, {exported.bos} in the export"
        )
    if missing := source.ends - exported.ends:
        faults.append(f"tokens {sorted(missing)} end a text in the source only")
    if faults:
        return Check("special tokens", False, "; ".join(faults))
    return Check("special tokens", True, f"bos {source.bos}, eos {source.eos}, ends {sorted(source.ends)}")


def check_logits(found: Divergence, threshold: Threshold) -> Check:
    """Compare the divergence with the thresholds of the type; NaN meets none."""
    detail = (
        f"top-1 {found.top1:.2%}, KL mean {found.kl_mean:.2e}, max {found.kl_max:.2e} nats"
        f" over {found.positions} positions"
    )
    faults = [
        wanted
        for wanted, bound, holds in (
            (f"top-1 >= {threshold.top1 or 0:.2%}", threshold.top1, found.top1 >= (threshold.top1 or 0)),
            (f"mean <= {threshold.mean_kl}", threshold.mean_kl, found.kl_mean <= (threshold.mean_kl or 0)),
            (f"max <= {threshold.max_kl}", threshold.max_kl, found.kl_max <= (threshold.max_kl or 0)),
        )
        if bound is not None and not holds
    ]
    if faults:
        return Check("logits", False, f"{detail}; wanted {', '.join(faults)}")
    judged = any(bound is not None for bound in (threshold.top1, threshold.mean_kl, threshold.max_kl))
    return Check("logits", True if judged else None, detail)


def check_rationales(equal: Sequence[bool], threshold: Threshold) -> Check:
    """Count the rows whose greedy rationales are equal."""
    share = sum(equal) / len(equal)
    detail = f"{sum(equal)} of {len(equal)} greedy rationales are the source's, byte for byte"
    if threshold.rationales is None:
        return Check("rationales", None, detail)
    if share >= threshold.rationales:
        return Check("rationales", True, detail)
    return Check("rationales", False, f"{detail}; wanted {threshold.rationales:.0%}")


def check_answers(found: Comparison | None, threshold: Threshold) -> Check:
    """Test that the export's exact match is not inferior: its paired interval against minus the margin."""
    if found is None:
        return Check("answers", None, "no row has a gold answer")
    match, change = found.exact_match, found.exact_match.difference
    detail = (
        f"exact match {match.a:.1%} with the source, {match.b:.1%} with the export,"
        f" difference {change.mean:+.1%} [{change.low:+.1%}, {change.high:+.1%}] on {found.rows} rows"
    )
    margin = threshold.em_drop
    if margin is None:
        return Check("answers", None, detail)
    if change.low > -margin:
        return Check("answers", True, detail)
    if change.high < -margin:
        return Check("answers", False, f"{detail}; wanted no more than {margin:.1%} lost")
    return Check("answers", None, f"{detail}; {_undecided(found, margin)}", inconclusive=True)


def _undecided(found: Comparison, margin: float) -> str:
    """Return how many rows would decide."""
    flips = found.mcnemar
    wanted = rows_to_decide(flips.only_b_right, flips.only_a_right, found.rows, -margin)
    rows = "no number of rows would decide" if wanted is None else f"about {wanted:,} rows would decide"
    return f"whether more than {margin:.1%} is lost is open, {rows}"


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _tokens(tokens: Sequence[int]) -> str:
    shown = ", ".join(map(str, tokens[:6]))
    return f"[{shown}{', ...' if len(tokens) > 6 else ''}]"


def _plain(value: bool | int | None) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
