"""The chat writer: profiles by a language model behind an OpenAI-compatible endpoint."""

from collections.abc import Callable, Sequence

from model.profile_text import UserFacts, render
from offline.writers import answer
from offline.writers.correspondence import Correspondence
from offline.writers.exchange import Answers
from offline.writers.plan import ChatPlan
from offline.writers.writer import TEMPLATE, Provenance, WrittenProfile


class ChatWriter:
    """Writes identity, interests and philosophy, beside the template's attributes.

    Answers come from the cache where they can; users with equal facts share one. A dead letter is
    written by the template, as one text in the section "interests".
    """

    sections = ("attributes", *answer.SECTIONS)

    def __init__(self, plan: ChatPlan[UserFacts], correspondence: Correspondence) -> None:
        """Prepare.

        Args:
            plan: what is asked, and how facts are told.
            correspondence: asks it.
        """
        self._plan = plan
        self.correspondence = correspondence

    @property
    def provenance(self) -> Provenance:
        """What the profiles depend on besides facts."""
        return self._plan.provenance

    def write(
        self, users: Sequence[UserFacts], advance: Callable[[int], object]
    ) -> list[WrittenProfile]:
        """Write the profiles of some users.

        Args:
            users: facts, one entry per user.
            advance: told how many users more are done, as they are done.

        Returns:
            A profile per user, in the order given. A user without purchases and queries has the
            template's attributes alone, as a newcomer known by attributes has online.

        Raises:
            WriterFailed: when going on makes no sense; what was paid for is kept.
        """
        if users:
            self._plan.check_allowed(users[0].attributes)
        digests = [self._plan.digest(facts, self._plan.allowed) for facts in users]
        answers = self.correspondence.answers(digests, advance)
        pairs = zip(users, digests, strict=True)
        return [self._profile(facts, digest, answers) for facts, digest in pairs]

    def _profile(self, facts: UserFacts, digest: str, answers: Answers) -> WrittenProfile:
        rendered = render(facts)
        if not digest:
            return WrittenProfile((rendered.attributes, "", "", ""), None)
        found = answers[digest]
        if found is None:
            told = "; ".join(filter(None, rendered.sections[1:]))
            return WrittenProfile((rendered.attributes, "", told, ""), TEMPLATE)
        return WrittenProfile((rendered.attributes, *found.texts()), self.provenance.writer)
