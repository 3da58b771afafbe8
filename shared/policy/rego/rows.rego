# How a policy says one row: what was demanded, what was found, whether that holds, and why it does not.
# Every function is total: whatever is missing, or of another kind than it should be, is a row that does not hold.
package nimmerverse.rows

import rego.v1

made(name, demanded, found, reason) := {
	"name": name,
	"demanded": demanded,
	"found": found,
	"holds": reason == "",
	"reason": reason,
}

missing(name, demanded) := made(name, demanded, null, concat("_", ["MISSING", upper(name)]))

below(name, found, limit) := made(name, sprintf("< %d", [limit]), found, "") if {
	is_number(found)
	found < limit
} else := made(name, sprintf("< %d", [limit]), found, "TOO_HIGH") if {
	is_number(found)
} else := missing(name, sprintf("< %d", [limit]))

at_most(name, found, limit) := made(name, sprintf("<= %d", [limit]), found, "") if {
	is_number(found)
	found <= limit
} else := made(name, sprintf("<= %d", [limit]), found, "TOO_HIGH") if {
	is_number(found)
} else := missing(name, sprintf("<= %d", [limit]))

at_least(name, found, limit) := made(name, sprintf(">= %d", [limit]), found, "") if {
	is_number(found)
	found >= limit
} else := made(name, sprintf(">= %d", [limit]), found, "TOO_LOW") if {
	is_number(found)
} else := missing(name, sprintf(">= %d", [limit]))

# What is true, is true; found is 1 or 0.
is_so(name, found) := made(name, "true", 1, "") if {
	found == true
} else := made(name, "true", 0, "NOT_SO") if {
	found == false
} else := missing(name, "true")

# A text that has to be one certain text.
equal(name, found, wanted) := made(name, wanted, 1, "") if {
	is_string(found)
	found == wanted
} else := made(name, wanted, 0, sprintf("FOUND_%s", [upper(found)])) if {
	is_string(found)
	found != ""
} else := missing(name, wanted)

# What stands against something, by name; nothing may.
none_of(name, demanded, concerns) := made(name, demanded, 0, "") if {
	count(concerns) == 0
} else := made(name, demanded, count(concerns), concat(", ", sort(concerns)))

# A row that somebody entitled to waived; only rows whose policy says so are ever given here.
waived(row, by) := row if {
	row.holds
} else := {
	"name": row.name,
	"demanded": sprintf("%s (waived by %s)", [row.demanded, by]),
	"found": row.found,
	"holds": true,
	"reason": "",
}

all_hold(rows) if {
	count(rows) > 0
	count([1 | some row in rows; row.holds != true]) == 0
}
