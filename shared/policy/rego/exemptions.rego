# Who may train or deploy without what, by name; nothing is exempt that is not listed here (ZER-05).
# Input: exemption (its name), environment, action (`train`, `install`, `staging` or `prod`), heavy (bool), steps.
package nimmerverse.exemptions

import rego.v1

import data.nimmerverse.limits

# `actions` is what it is for; `steps` is the largest run; `heavy` whether a run may be one that needs the window.
known := {
	"dev_install": {"environments": ["dev"], "actions": ["install"], "steps": 0, "heavy": false},
	"dev_tour": {"environments": ["dev"], "actions": ["train"], "steps": limits.light_steps, "heavy": false},
	"pilot": {"environments": [], "actions": ["train"], "steps": 1000, "heavy": false},
}

rows := [named, place, action, size, light]

default allow := false

allow if data.nimmerverse.rows.all_hold(rows)

exempts(asked) if {
	count(objections(asked)) == 0
}

# An exemption without environments holds in all of them.
objections(asked) := [name |
	some name in ["exemption", "environment", "action", "steps", "heavy"]
	not fits(name, asked)
]

fits("exemption", asked) if known[asked.exemption]

fits("environment", asked) if {
	is_string(asked.environment)
	count(known[asked.exemption].environments) == 0
}

fits("environment", asked) if {
	is_string(asked.environment)
	asked.environment in known[asked.exemption].environments
}

fits("action", asked) if asked.action in known[asked.exemption].actions

fits("steps", asked) if {
	data.nimmerverse.rows.natural(asked.steps)
	asked.steps <= known[asked.exemption].steps
}

fits("heavy", asked) if {
	is_boolean(asked.heavy)
	asked.heavy == false
}

fits("heavy", asked) if {
	is_boolean(asked.heavy)
	known[asked.exemption].heavy == true
}

named := row("exemption")

place := row("environment")

action := row("action")

size := row("steps")

light := row("heavy")

row(name) := data.nimmerverse.rows.missing(name, "as listed") if {
	object.get(input, name, null) == null
} else := data.nimmerverse.rows.made(name, "as listed", 1, "") if {
	fits(name, input)
} else := data.nimmerverse.rows.made(name, "as listed", 0, "NOT_EXEMPT")
