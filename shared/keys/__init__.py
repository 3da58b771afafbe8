"""Signing keys: in hand (Signer), sealed on disk (Keyring) or on a token (Token), and the secrets that open them."""

from __future__ import annotations

from shared.keys.files import Entropy as Entropy
from shared.keys.keyring import KeyInfo as KeyInfo
from shared.keys.keyring import Keyring as Keyring
from shared.keys.mldsa import MlDsaSigner as MlDsaSigner
from shared.keys.mldsa import verify_mldsa as verify_mldsa
from shared.keys.nkeys import NkeyPair as NkeyPair
from shared.keys.nkeys import load_or_create as load_or_create
from shared.keys.nkeys import nkey_pair as nkey_pair
from shared.keys.passphrase import obtain as obtain
from shared.keys.passphrase import read_secret as read_secret
from shared.keys.pkcs11 import Pkcs11Signer as Pkcs11Signer
from shared.keys.pkcs11 import Token as Token
from shared.keys.sealed import CHEAP as CHEAP
from shared.keys.sealed import MODERATE as MODERATE
from shared.keys.sealed import Cost as Cost
from shared.keys.signer import LocalSigner as LocalSigner
from shared.keys.signer import ProxiedKey as ProxiedKey
from shared.keys.signer import RemoteSigner as RemoteSigner
from shared.keys.signer import Signer as Signer
from shared.keys.signer import check_public as check_public
from shared.keys.signer import is_canonical as is_canonical
from shared.keys.signer import is_low_order as is_low_order
from shared.keys.signer import key_id_of as key_id_of
from shared.keys.signer import signature_of as signature_of
from shared.keys.signer import verify as verify
