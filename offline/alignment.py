"""Alignment: user vectors in which users lie close who later buy alike, from phrases alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from scipy import sparse

from model.encoder import EncoderBlock, TextEncoder
from model.phrases import READING, PhraseLists
from model.profile_text import TEMPLATE_VERSION
from model.whole_file import whole_file
from offline.embeddings import FILE_NAME, encoded_texts
from offline.events import CanonicalTables
from offline.fact_log import MISSING, SECTIONS, FactLog
from offline.histories import epoch_s
from offline.one_thread import products_on_one_thread
from offline.progress import track

MOMENTS = (0.25, 0.5, 0.75)
"""Shares of the history at which profiles are drawn up; what users bought from there to the cut is
what these profiles should tell. Several, so that short profiles count as well as long ones."""
WIDTH = 64
MOST_USERS = 32_768
_USERS_AT_ONCE = 4096

Doubles = NDArray[np.float64]
Sections = tuple[PhraseLists, ...]


@dataclass(frozen=True, eq=False)
class View:
    """Users as of one moment, and what they bought between it and the cut."""

    profile: Doubles
    """float64 ``[n, P]``: centred sections side by side."""
    later: sparse.csr_matrix
    """``[n, T]``: later purchases, rows of length one."""


def write_aligned(
    tables: CanonicalTables,
    moment: datetime,
    encoder: TextEncoder,
    folder: Path,
    block: EncoderBlock | None = None,
) -> EncoderBlock:
    """Write aligned user vectors and the encoder block that gives them.

    Args:
        tables: the canonical tables.
        moment: the cut; nothing at or after it is read.
        encoder: encodes each distinct phrase once.
        folder: an existing folder.
        block: the block of the training cut, for a later cut; None fits one here.

    Returns:
        The block. ``embeddings.npy`` is float32 ``[N, W]``, rows in the order of the users table.

    Raises:
        ValueError: when the block was fitted for another reading or encoder, or when nobody bought
            anything that could be learnt from.
        Exception: whatever the encoder raises; phrases that are encoded stay in the folder, and
            the same call goes on from there.

    Source: section 4.2.2 (1); docs/groups.md.
    """
    if block:
        _check_reuse(block, encoder)
    log = FactLog.open(tables)
    cut_s = epoch_s(moment)
    phrases = pa.array(log.phrases, pa.large_string())
    with encoded_texts(phrases, encoder, folder) as vectors, products_on_one_thread():
        block = block or fit_alignment(log, vectors, cut_s, encoder.identity)
        _write(folder / FILE_NAME, log.sections(cut_s), vectors, block)
        block.save(folder)
    return block


def fit_alignment(
    log: FactLog, vectors: NDArray[np.float32], cut_s: int, encoder_identity: str
) -> EncoderBlock:
    """Fit centring and projection on what was known before a cut.

    Args:
        log: facts of all users.
        vectors: float32 ``[T, D]``: of the log's phrases.
        cut_s: seconds since the epoch; nothing as late is read.
        encoder_identity: gave the vectors.

    Returns:
        The block of this cut.

    Raises:
        ValueError: when nobody bought anything between the moments and the cut.
    """
    centred = EncoderBlock(
        template_version=TEMPLATE_VERSION,
        encoder_identity=encoder_identity,
        section_names=SECTIONS,
        section_weights=(1.0,) * len(SECTIONS),
        section_means=_means(log.sections(cut_s), vectors),
        reading=READING,
    )
    views = [
        _view(log, vectors, centred, moment_s, cut_s)
        for moment_s in track(_moments_s(log.start_s, cut_s), "alignment")
    ]
    found = fit_projection(views, len(log), WIDTH)
    shape = (*centred.section_means.shape, found.shape[1])
    return replace(centred, projection=found.astype(np.float32).reshape(shape))


def fit_projection(views: Sequence[View], users: int, width: int) -> Doubles:
    """The projection under which users who later buy alike lie close.

    Pairs of users are alike by the inner product of what they later bought, weighed by rarity. The
    projection minimises the spectral contrastive loss over all pairs, which has a closed form: it
    is the regression of later purchases on profiles, cut to its strongest directions. So nothing
    is drawn, and there are no steps to stop early; a ridge of P / N of the mean variance keeps
    few users with many inputs from being learnt by heart.

    Args:
        views: profiles of width P, each with as many users as it has later purchases of.
        users: users N that the data set has.
        width: directions W kept at most.

    Returns:
        float64 ``[P, W]``, strongest direction first; a direction is the longer the more it tells.
    """
    inputs = views[0].profile.shape[1]
    covariance, pairs = np.zeros((inputs, inputs)), np.zeros((inputs, inputs))
    for view in views:
        share = 1 / (len(view.profile) * len(views))
        covariance += share * view.profile.T @ view.profile
        cross = _cross_covariance(view)
        pairs += cross @ cross.T / len(views)
    ridge = np.trace(covariance) / users
    spread, axes = np.linalg.eigh(covariance + ridge * np.eye(inputs))
    whitening = axes / np.sqrt(spread)
    strength, directions = np.linalg.eigh(whitening.T @ pairs @ whitening)
    kept = np.argsort(strength)[::-1][:width]
    scale = np.sqrt(np.maximum(strength[kept], 0))
    projection: Doubles = whitening @ directions[:, kept] * scale
    return projection


def _cross_covariance(view: View) -> Doubles:
    """float64 ``[P, T]``: of profiles with later purchases."""
    rows = len(view.profile)
    mean = np.asarray(view.later.mean(axis=0)).ravel()
    product: Doubles = (view.later.T @ view.profile).T
    return (product - np.outer(view.profile.sum(axis=0), mean)) / rows


def later_purchases(log: FactLog, start_s: int, end_s: int) -> sparse.csr_matrix:
    """What every user bought within a span, as a direction.

    An item counts by itself and by its phrases (categories, side fields): items alone are too rare
    to be shared in a large catalogue, categories alone too coarse in a small one. Rarity weighs
    both: log of buyers over those who bought it. What one user alone bought joins nobody.

    Args:
        log: facts of all users.
        start_s: the first second.
        end_s: the second after the last.

    Returns:
        float64 ``[N, T]``: rows of length one; zero rows for users without such purchases.
    """
    bought = log.purchases.between(start_s, end_s)
    phrase = log.item_phrases[bought.row]
    tokens = np.column_stack([phrase, len(log.phrases) + bought.row])
    user = np.broadcast_to(bought.user[:, None], tokens.shape)
    named = tokens != MISSING
    shape = (len(log), len(log.phrases) + len(log.item_phrases))
    counts = sparse.csr_matrix(
        (np.ones(int(named.sum())), (user[named], tokens[named])), shape=shape
    )
    buyers = np.asarray((counts > 0).sum(axis=0)).ravel()
    shared = np.flatnonzero(buyers > 1)
    rarity = np.log(len(np.unique(bought.user)) / buyers[shared])
    weighed = counts[:, shared] @ sparse.diags_array(rarity)
    lengths = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return sparse.csr_matrix(sparse.diags_array(inverse) @ weighed)


def _view(
    log: FactLog, vectors: NDArray[np.float32], block: EncoderBlock, moment_s: int, cut_s: int
) -> View:
    later = later_purchases(log, moment_s, cut_s)
    buyers = np.flatnonzero(np.diff(later.indptr))
    if len(buyers) < 2:
        raise ValueError(
            f"{len(buyers)} users share a purchase with another between {moment_s} and the cut"
            f" {cut_s} (seconds since the epoch); alignment learns from such pairs: cut later, or"
            " group by profiles that are not aligned"
        )
    chosen = buyers[:: -(-len(buyers) // MOST_USERS)]
    sections, evidence = _read([part.take(chosen) for part in log.sections(moment_s)], vectors)
    centred = block.centred(sections, evidence)
    return View(centred.reshape(len(chosen), -1).astype(np.float64), later[chosen])


def _moments_s(start_s: int, cut_s: int) -> list[int]:
    return [int(start_s + share * (cut_s - start_s)) for share in MOMENTS]


def _read(
    sections: Sequence[PhraseLists], vectors: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """float32 ``[N, S, D]`` section vectors and ``[N, S]`` evidence."""
    read = [lists.read(vectors) for lists in sections]
    return np.stack([one for one, _ in read], axis=1), np.stack([one for _, one in read], axis=1)


def _pieces(
    sections: Sections, vectors: NDArray[np.float32]
) -> Iterator[tuple[slice, NDArray[np.float32], NDArray[np.float32]]]:
    """Section vectors and evidence of all users, a few thousand at a time."""
    users = len(sections[0].facts)
    for start in range(0, users, _USERS_AT_ONCE):
        own = np.arange(start, min(users, start + _USERS_AT_ONCE))
        yield slice(start, start + len(own)), *_read([one.take(own) for one in sections], vectors)


def _means(sections: Sections, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 ``[S, D]``: mean of each section over the users that have it."""
    total = np.zeros((len(sections), vectors.shape[1]))
    users = np.zeros(len(sections))
    for _, section, evidence in _pieces(sections, vectors):
        total += section.astype(np.float64).sum(axis=0)  # missing ones are zero
        users += np.count_nonzero(evidence, axis=0)
    return (total / np.maximum(users, 1)[:, None]).astype(np.float32)


def _write(
    path: Path, sections: Sections, vectors: NDArray[np.float32], block: EncoderBlock
) -> None:
    shape = (len(sections[0].facts), block.width)
    with whole_file(path) as partial:
        users = open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        for rows, section, evidence in _pieces(sections, vectors):
            users[rows] = block.combine(section, evidence)
        users.flush()


def _check_reuse(block: EncoderBlock, encoder: TextEncoder) -> None:
    found = (TEMPLATE_VERSION, READING, encoder.identity, SECTIONS)
    fitted = (block.template_version, block.reading, block.encoder_identity, block.section_names)
    if found != fitted:
        raise ValueError(
            f"this build reads {found}, the encoder block was fitted for {fitted}; read with the"
            " build and the encoder that the block was fitted with, or fit a new block"
        )
