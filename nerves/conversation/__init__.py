"""The conversation nerve: words that were heard in, `nervous.conversation.event.{site}.turned`, questions and speech out."""

from __future__ import annotations

from nerves.conversation.nerve import ConversationNerve as ConversationNerve
from nerves.conversation.state import ConversationWindow as ConversationWindow
from nerves.conversation.state import Talking as Talking
