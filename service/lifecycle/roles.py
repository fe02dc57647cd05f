"""The roles: which served model answers whom; replaced whole, by one reference."""

from dataclasses import dataclass

from service.lifecycle.canary_side import on_canary_side
from service.lifecycle.served_model import ServedModel


@dataclass(frozen=True)
class Roles:
    """Who answers from now on."""

    champion: ServedModel | None = None
    """None: nothing has become active yet."""
    canary: ServedModel | None = None
    share: float = 0.0
    """Of users, whom the canary answers."""
    salt: str = ""
    testers: bool = False
    """Whether a caller may ask for the canary."""

    @property
    def serving(self) -> frozenset[ServedModel]:
        """The models that answer somebody."""
        return frozenset(model for model in (self.champion, self.canary) if model is not None)

    def choose(self, user_id: str, *, tester: bool) -> ServedModel | None:
        """The model that answers a user.

        Args:
            user_id: as in the request.
            tester: whether the caller asks for the canary.

        Returns:
            The canary for users of its side, while there is one; else the champion, if any.
        """
        if self.canary is None:
            return self.champion
        asked = tester and self.testers
        if asked or on_canary_side(user_id, self.salt, self.share):
            return self.canary
        return self.champion
