"""The ground floor: messages, envelope, log, World, bus and part kinds. No domain logic lives here."""
