"""The conversation nerve: words in; `nervous.conversation.event.{site}.turned`, questions and what to speak out."""

from __future__ import annotations

from nerves.conversation.nerve import ConversationNerve as ConversationNerve
from nerves.conversation.state import ConversationWindow as ConversationWindow
from nerves.conversation.state import Talking as Talking
