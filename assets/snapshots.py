"""Snapshots: the parsed content of each file that a user edits, as assets.

Other assets read the snapshot and never the file, so the provenance of an asset names exactly the content that the
asset was made from. The data version is a hash of the parsed content: an edit of comments, key order or white space
makes nothing stale.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import dagster as dg

from rbr.errors import InputError
from rbr.hashing import content_hash
from resources.progress import Progress
from resources.progress_file import ProgressFile
from resources.sources import (
    SNAPSHOT_DESCRIPTIONS,
    SourceContents,
    Sources,
    read_data,
    read_models,
    read_rulebook,
    read_sections,
    snapshot_key,
    snapshot_names,
)
from resources.store import Store


def _snapshots(group: str, read: Callable[[Sources], SourceContents]) -> dg.AssetsDefinition:
    @dg.multi_asset(name=f"{group}_snapshots", can_subset=True, specs=_specs(group))
    def materialize(
        context: dg.AssetExecutionContext, sources: Sources, store: Store
    ) -> Iterator[dg.MaterializeResult]:
        yield from _save(store, context.selected_asset_keys, read(sources))

    return materialize


def _specs(group: str) -> list[dg.AssetSpec]:
    return [
        dg.AssetSpec(
            snapshot_key(name),
            description=SNAPSHOT_DESCRIPTIONS[name],
            group_name="snapshots",
            code_version="1",
            skippable=True,
            kinds={"yaml"} if group != "data" else {"json"},
        )
        for name in snapshot_names(group)
    ]


def _save(
    store: Store, selected: Collection[dg.AssetKey], contents: Mapping[str, Any]
) -> Iterator[dg.MaterializeResult]:
    errors: list[InputError] = []
    for name, content in contents.items():
        if snapshot_key(name) not in selected:
            continue
        if isinstance(content, InputError):
            errors.append(content)
            continue
        version = content_hash(content)
        store.save_snapshot(name, content, version)
        yield dg.MaterializeResult(
            asset_key=snapshot_key(name),
            data_version=dg.DataVersion(version),
            metadata={"entries": len(content)},
        )
    # Raise at the end, so that one broken file does not keep the other snapshots from being saved.
    if errors:
        # One broken file can affect several snapshots. Report its problems once.
        raise InputError.collect({str(error): error for error in errors}.values())


rulebook_snapshots = _snapshots("rulebook", lambda sources: read_rulebook(sources.rulebook))
data_snapshots = _snapshots("data", lambda sources: read_data(sources.profile))
profile_snapshots = _snapshots("profile", lambda sources: read_sections(sources.profile))


@dg.multi_asset(name="models_snapshots", can_subset=True, specs=_specs("models"))
def model_snapshots(
    context: dg.AssetExecutionContext, sources: Sources, store: Store, progress: Progress
) -> Iterator[dg.MaterializeResult]:
    """Takes the snapshots of the models. Waits for a grader's server, so that its model is known before it is asked."""
    with ExitStack() as stack:
        bars: list[ProgressFile] = []

        def on_wait(note: str) -> None:
            # Only a server that is waited for has a progress line.
            if not bars:
                bars.append(stack.enter_context(progress.bar("models/grader", total=1, unit="servers")))
            bars[0].update(0, note)

        contents = read_models(sources.profile, on_wait)
    yield from _save(store, context.selected_asset_keys, contents)
