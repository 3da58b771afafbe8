"""Signing keys on a PKCS#11 token: a hardware module, a smart card, or SoftHSM. The secret never leaves it.

Needs the optional extra `hsm` (python-pkcs11). A key pair is found by its label and signs by CKM_EDDSA. The login
belongs to the process, so two Token objects of one token share it. Every signature is verified before it is given away.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from shared.errors import KeyFault
from shared.extras import how_to_install
from shared.keys.passphrase import read_secret
from shared.keys.signer import PUBLIC_BYTES, check_public, key_id_of, verify

#: The curve's object identifier, 1.3.101.112, in DER: what CKA_EC_PARAMS holds for Ed25519.
CURVE: Final = bytes.fromhex("06032b6570")
_POINT: Final = bytes((0x04, PUBLIC_BYTES))  #: how a DER octet string of a public key's length begins

T = TypeVar("T")


class Pkcs11Signer:
    """One key on a token, by its label."""

    def __init__(self, token: Token, label: str, public: bytes) -> None:
        check_public(public)
        self._token, self.label = token, label
        self.public = public
        self.key_id = key_id_of(public)

    def sign(self, message: bytes) -> bytes:
        """The signature of exactly these bytes; KeyFault where the token does not give it."""
        signature = self._token.sign(self.label, message)
        if not verify(self.public, message, signature):
            raise KeyFault(
                f"{self._token} signed with another key than the public one labelled {self.label!r}, or wrongly: "
                "two objects there share the label by mistake, or the token is broken; look at both."
            )
        return signature

    def __repr__(self) -> str:
        return f"Pkcs11Signer({self.key_id} on {self._token})"

    def __str__(self) -> str:
        return str(self._token)


class Token:
    """One token behind a PKCS#11 module, logged in as its user. Opened at the first use, reopened once when lost."""

    def __init__(self, module: Path, label: str, pin_file: Path) -> None:
        self.module, self.label, self.pin_file = module, label, pin_file
        self._session: Any = None
        self._private: dict[str, Any] = {}  #: private keys found in the session, by label

    def __str__(self) -> str:
        return f"token {self.label!r} of {self.module}"

    def signer(self, label: str) -> Pkcs11Signer:
        """The key pair of this label; KeyFault when it is missing, not unique, or not an Ed25519 key."""
        return Pkcs11Signer(self, label, self._look(lambda session: self._public(session, label)))

    def holds(self, label: str) -> bool:
        """Whether the token has a private key of this label."""
        return self._look(lambda session: bool(self._objects(session, "PRIVATE_KEY", label)))

    def generate(self, label: str) -> Pkcs11Signer:
        """A new key made by the token itself, which never lets it out; KeyFault when the label is taken."""
        if self.holds(label):
            raise KeyFault(f"{self} already holds a key labelled {label!r}: choose another name, or remove it there.")
        self._look(lambda session: self._make(session, label), rw=True)
        return self.signer(label)

    def sign(self, label: str, message: bytes) -> bytes:
        """What the token says is the Ed25519 signature; not verified yet."""

        def signed(session: Any) -> bytes:  # noqa: ANN401 - the module is optional, so its types are not at hand
            if label not in self._private:
                self._private[label] = self._one(session, "PRIVATE_KEY", label)
            return bytes(self._private[label].sign(message, mechanism=_pkcs11().Mechanism.EDDSA))

        return self._ask(signed)

    def close(self) -> None:
        """Give the session back; the next use opens another."""
        session, self._session = self._session, None
        self._private.clear()
        if session is not None:
            try:
                session.close()
            except _pkcs11().PKCS11Error:  # it was lost already
                pass

    def _ask(self, question: Callable[[Any], T]) -> T:
        """Ask the token; where its session was lost, once more on a new one."""
        if self._session is not None:
            try:
                return question(self._session)
            except _pkcs11().PKCS11Error as lost:
                return self._look(question, after=_name(lost))
        return self._look(question)

    def _look(self, question: Callable[[Any], T], *, rw: bool = False, after: str = "") -> T:
        """Ask the token on a new session, so that nothing is known from before."""
        self.close()
        self._session = self._open(rw=rw)
        try:
            return question(self._session)
        except _pkcs11().PKCS11Error as error:
            self.close()
            before = f", after {after}" if after else ""
            raise KeyFault(
                f"{self} did not do what it was asked ({_name(error)}{before}): see the module's own log, "
                "and whether the token knows CKM_EDDSA with Ed25519."
            ) from error

    def _open(self, *, rw: bool = False) -> Any:  # noqa: ANN401 - the module is optional, so its types are not at hand
        p = _pkcs11()
        pin = read_secret(self.pin_file, "PIN")
        try:
            library = p.lib(str(self.module))
        except (p.PKCS11Error, OSError) as error:
            raise KeyFault(
                f"{self.module} is no PKCS#11 module ({error}): set pkcs11_module to its library."
            ) from error
        try:
            token = library.get_token(token_label=self.label)
        except p.exceptions.NoSuchToken as error:
            known = ", ".join(sorted(repr(t.label) for t in library.get_tokens() if t.label)) or "none"
            raise KeyFault(f"{self.module} has no token {self.label!r}; its tokens are {known}: plug it in.") from error
        except p.PKCS11Error as error:
            raise KeyFault(f"{self} cannot be chosen ({_name(error)}): give each token a label of its own.") from error
        return self._login(token, pin, rw=rw)

    def _login(self, token: Any, pin: bytes, *, rw: bool) -> Any:  # noqa: ANN401 - as above
        p = _pkcs11()
        try:
            return token.open(user_pin=pin.decode(), rw=rw)
        except p.exceptions.UserAlreadyLoggedIn:  # by this very process, which is who the token knows
            return token.open(rw=rw)
        except (p.exceptions.PinIncorrect, p.exceptions.PinLenRange, p.exceptions.PinInvalid, UnicodeDecodeError):
            raise KeyFault(
                f"{self} refused the PIN in {self.pin_file}: write the right one there; it locks after a few tries."
            ) from None
        except p.exceptions.PinLocked:
            raise KeyFault(f"{self} is locked after too many wrong PINs: its security officer unlocks it.") from None
        except p.PKCS11Error as error:
            raise KeyFault(f"{self} cannot be opened ({_name(error)}): see the module's own log.") from error

    def _public(self, session: Any, label: str) -> bytes:  # noqa: ANN401 - as above
        self._one(session, "PRIVATE_KEY", label)
        point = bytes(self._one(session, "PUBLIC_KEY", label)[_pkcs11().Attribute.EC_POINT])
        if len(point) != len(_POINT) + PUBLIC_BYTES or not point.startswith(_POINT):
            raise KeyFault(
                f"the public key {label!r} on {self} is {point.hex()}, expected a DER octet string of {PUBLIC_BYTES} "
                "bytes: use an Ed25519 key."
            )
        return point[len(_POINT) :]

    def _one(self, session: Any, kind: str, label: str) -> Any:  # noqa: ANN401 - as above
        found = self._objects(session, kind, label)
        if len(found) == 1:
            return found[0]
        what = kind.lower().replace("_", " ")
        todo = f"make it with `nimmerverse keys generate {label.partition('.')[2] or label}`" if not found else ""
        raise KeyFault(
            f"{self} holds {len(found)} objects that are a {what} labelled {label!r}, expected 1: "
            f"{todo or 'remove or relabel the others'}."
        )

    def _objects(self, session: Any, kind: str, label: str) -> list[Any]:  # noqa: ANN401 - as above
        p = _pkcs11()
        wanted = {
            p.Attribute.CLASS: p.ObjectClass[kind],
            p.Attribute.KEY_TYPE: p.KeyType.EC_EDWARDS,
            p.Attribute.LABEL: label,
        }
        return list(session.get_objects(wanted))

    def _make(self, session: Any, label: str) -> None:  # noqa: ANN401 - as above
        p = _pkcs11()
        a, kind = p.Attribute, p.KeyType.EC_EDWARDS
        domain = session.create_domain_parameters(kind, {a.EC_PARAMS: CURVE}, local=True)
        domain.generate_keypair(
            mechanism=p.Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
            store=True,
            label=label,
            private_template={a.EXTRACTABLE: False, a.SENSITIVE: True, a.SIGN: True},
        )


def _name(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()


def _pkcs11() -> Any:  # noqa: ANN401 - the module is optional, so its types are not at hand
    try:
        return importlib.import_module("pkcs11")
    except ImportError as error:
        raise KeyFault(
            "the optional extra `hsm` is not installed, so no PKCS#11 token can be used: "
            f"{how_to_install('hsm')}; or empty pkcs11_keys."
        ) from error
