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

# What is measured is never below zero; what is, was not measured.
natural(found) if {
	is_number(found)
	found >= 0
}

below(name, found, limit) := made(name, sprintf("< %d", [limit]), found, "") if {
	natural(found)
	found < limit
} else := made(name, sprintf("< %d", [limit]), found, "TOO_HIGH") if {
	natural(found)
} else := missing(name, sprintf("< %d", [limit]))

at_most(name, found, limit) := made(name, sprintf("<= %d", [limit]), found, "") if {
	natural(found)
	found <= limit
} else := made(name, sprintf("<= %d", [limit]), found, "TOO_HIGH") if {
	natural(found)
} else := missing(name, sprintf("<= %d", [limit]))

at_least(name, found, limit) := made(name, sprintf(">= %d", [limit]), found, "") if {
	natural(found)
	found >= limit
} else := made(name, sprintf(">= %d", [limit]), found, "TOO_LOW") if {
	natural(found)
} else := missing(name, sprintf(">= %d", [limit]))

# A share of a whole, which more than the whole is not.
share_at_least(name, found, limit) := at_least(name, found, limit) if {
	natural(found)
	found <= 1000000
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
} else := made(name, wanted, 0, "OTHER") if {
	is_string(found)
	found != ""
} else := missing(name, wanted)

# What stands against something, by name; nothing may.
none_of(name, demanded, concerns) := made(name, demanded, 0, "") if {
	count(concerns) == 0
} else := made(name, demanded, count(concerns), concat(", ", sort(concerns)))

# A row that somebody entitled to waived; only rows whose policy says so are ever given here.
waived(row) := row if {
	row.holds
} else := {
	"name": row.name,
	"demanded": concat("", [row.demanded, ", waived by cto and safety_lead"]),
	"found": row.found,
	"holds": true,
	"reason": "",
}

all_hold(rows) if {
	count(rows) > 0
	count([1 | some row in rows; row.holds != true]) == 0
}
