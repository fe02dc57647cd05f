"""The profile cache: every answer paid for, under the hash of all that it depends on."""

import json
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import msgspec

from offline.writers.answer import Answer, AnswerRefused, ProfileAnswer, parse_answer
from offline.writers.append_log import AppendLog, read_entry
from offline.writers.writer import Provenance

_KEY_BYTES = 16


class _Kept(msgspec.Struct, frozen=True):
    key: str
    answer: msgspec.Raw


class ProfileCache:
    """Answers of one writer, by the digest of facts they were given for.

    The folder's name is a hash of the writer's provenance: model, revision, prompt, schema and
    sampling. So an answer is found again only by the same writer for the same facts. How facts are
    told is not in it, since the digest is what was told.
    """

    def __init__(
        self, root: Path, provenance: Provenance, kind: type[Answer] = ProfileAnswer
    ) -> None:
        """Open the cache and read where its answers stand.

        Args:
            root: folder of all writers' caches.
            provenance: of the writer.
            kind: what its answers are.
        """
        paid_for = replace(provenance, telling="")
        identity = sha256(paid_for.identity.encode()).hexdigest()[:16]
        self.folder = root / f"{provenance.writer}-{identity}"
        self._provenance = provenance
        self._kind = kind
        self._log = AppendLog(self.folder, "answers")
        self._places: dict[bytes, tuple[Path, int]] = {}
        for entry in self._log.entries():
            self._note(entry.payload, entry.shard, entry.offset)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def damaged(self) -> int:
        """Lines left out because a kill tore them or something altered them."""
        return self._log.damaged

    def get(self, digest: str) -> Answer | None:
        """Find an answer.

        Args:
            digest: of a user's facts.

        Returns:
            The answer, checked once more; None when there is none or it is damaged.
        """
        place = self._places.get(_key(digest))
        payload = read_entry(place) if place else None
        try:
            return parse_answer(_kept(payload).answer, self._kind) if payload else None
        except (AnswerRefused, msgspec.DecodeError):
            return None

    def put(self, digest: str, answer: Answer) -> None:
        """Keep an answer.

        Args:
            digest: of the facts it was given for.
            answer: what the writer said.
        """
        if not self._log.is_open:
            self._describe()
        kept = _Kept(_key(digest).hex(), msgspec.Raw(msgspec.json.encode(answer)))
        entry = self._log.append(msgspec.json.encode(kept))
        self._places[_key(digest)] = entry.shard, entry.offset

    def close(self) -> None:
        """Give the file back."""
        self._log.close()

    def _note(self, payload: bytes, shard: Path, offset: int) -> None:
        try:
            key = bytes.fromhex(_kept(payload).key)
        except (msgspec.DecodeError, ValueError):
            return  # whole, yet of another format: as good as absent
        self._places[key] = shard, offset

    def _describe(self) -> None:
        """State the provenance beside the answers, for people."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self._provenance), indent=1)
        (self.folder / "writer.json").write_text(text + "\n")


def _key(digest: str) -> bytes:
    return sha256(digest.encode()).digest()[:_KEY_BYTES]


def _kept(payload: bytes) -> _Kept:
    return msgspec.json.decode(payload, type=_Kept)
