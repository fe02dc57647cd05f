"""Phrases: a section of a profile as weighted phrases, and the section vector they give."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.encoder import TextEncoder

READING = "phrases-1"
"""Changes whenever the same phrases would give another section vector or other evidence."""
EVIDENCE_HALF = 3.0
"""Facts that count half of what very many would. One purchase tells little of a taste: the little
evidence there is, the nearer a section stays to the average user (docs/groups.md)."""


@dataclass(frozen=True, eq=False)
class PhraseLists:
    """One section of N users: of each the phrases in the order of their texts, with weights."""

    offsets: NDArray[np.int64]
    """``[N + 1]``: where each user's phrases begin in the two arrays below."""
    phrase: NDArray[np.int64]
    """``[E]``: number of the phrase."""
    weight: NDArray[np.float64]
    """``[E]``: how much of it; positive."""
    facts: NDArray[np.float64]
    """``[N]``: how many facts the phrases tell; 0 = the section is missing. One purchase is one
    fact, though its category, its brand and its price are a phrase each."""

    @classmethod
    def build(
        cls,
        user: NDArray[np.int64],
        phrase: NDArray[np.int64],
        weight: NDArray[np.float64],
        facts: NDArray[np.float64],
    ) -> "PhraseLists":
        """Gather phrases by user.

        Args:
            user: int64 ``[E]``: position of the user, in any order.
            phrase: int64 ``[E]``: number of the phrase, in the order of the phrases' texts.
            weight: float64 ``[E]``; the weights of one user's equal phrases add up.
            facts: float64 ``[N]``.
        """
        phrases = int(phrase.max(initial=0)) + 1
        key, place = np.unique(user * phrases + phrase, return_inverse=True)
        counted = np.bincount(place, weight, len(key)).astype(np.float64)
        own, numbers = np.divmod(key, phrases)
        ends = np.cumsum(np.bincount(own, minlength=len(facts)))
        return cls(np.concatenate([[0], ends]), numbers, counted, facts)

    def take(self, users: NDArray[np.int64]) -> "PhraseLists":
        """The lists of some users, int64 ``[n]``, in the order asked for."""
        lengths = np.diff(self.offsets)[users]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        shift = np.repeat(self.offsets[users] - offsets[:-1], lengths)
        entries = np.arange(offsets[-1]) + shift
        return PhraseLists(offsets, self.phrase[entries], self.weight[entries], self.facts[users])

    def read(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The section vector and the evidence of every user.

        Args:
            vectors: float32 ``[T, D]``: of the phrases.

        Returns:
            float32 ``[N, D]``: the phrases' sum by weight over the number of facts, zero without
            facts; float32 ``[N]``: evidence in ``[0, 1)``. A row does not depend on the others.

        Source: docs/groups.md.
        """
        sums = np.zeros((len(self.facts), vectors.shape[1]))
        some = np.flatnonzero(np.diff(self.offsets))
        if len(some):
            # Phrase by phrase in float64, so that neither batch nor order shows in float32.
            terms = self.weight[:, None] * vectors[self.phrase]
            sums[some] = np.add.reduceat(terms, self.offsets[some], axis=0)
        section = sums / np.maximum(self.facts, 1e-9)[:, None]
        return section.astype(np.float32), evidence(self.facts)


def evidence(facts: NDArray[np.float64]) -> NDArray[np.float32]:
    """How much a section counts that stands on so many facts: n / (n + 3), float32."""
    return (facts / (facts + EVIDENCE_HALF)).astype(np.float32)


def read_phrases(encoder: TextEncoder, phrases: Sequence[str]) -> tuple[NDArray[np.float32], float]:
    """The section vector and the evidence of one user known by a few phrases, a fact each.

    Args:
        encoder: encodes the phrases.
        phrases: at least one.

    Returns:
        float32 ``[D]`` and the evidence: bit for bit those of ``PhraseLists.read``.
    """
    ordered = sorted(phrases)
    every = np.arange(len(ordered))
    facts = np.array([len(ordered)], np.float64)
    lists = PhraseLists.build(np.zeros_like(every), every, np.ones(len(ordered)), facts)
    section, share = lists.read(encoder.encode(ordered))
    return section[0], float(share[0])
