# Whether a training job may start at all (ILL-03, ILL-08, ZER-05).
# Input: environment, heavy, steps, proposal (its state; absent where there is none), exemption (absent where none is
# claimed), datasets: [{dataset, kind, use, licence, restrictions, pii, approved: [concerns that were approved]}],
# the job's own and those that taught its base; weights from elsewhere are one of these.
package nimmerverse.training

import rego.v1

import data.nimmerverse.limits

rows := [datasets, use, origin, licence, restrictions, pii, proposal]

default allow := false

allow if data.nimmerverse.rows.all_hold(rows)

default listed := []

listed := input.datasets if {
	is_array(object.get(input, "datasets", null))
	count([each | some each in input.datasets; not is_object(each)]) == 0
}

datasets := data.nimmerverse.rows.at_least("datasets", count(listed), 1)

use := about_datasets("use", "train", {concern |
	some each in listed
	object.get(each, "use", null) != "train"
	concern := sprintf("use:%s", [text(each, "use")])
})

# What weights from elsewhere learned, nobody here saw.
origin := about_datasets("origin", "data, or approved", {concern |
	some each in listed
	concern := origin_of(each)
	not approved(each, concern)
})

licence := about_datasets("licence", "open or approved", {concern |
	some each in listed
	not open(each)
	concern := sprintf("licence:%s", [text(each, "licence")])
	not approved(each, concern)
})

restrictions := about_datasets("restrictions", "none or approved", {concern |
	some each in listed
	some concern in restrictions_of(each)
	not approved(each, concern)
})

pii := about_datasets("pii", "none or approved", {"pii" |
	some each in listed
	object.get(each, "pii", null) != "none"
	not approved(each, "pii")
})

# Where no dataset is named, nothing about one holds.
about_datasets(name, demanded, concerns) := data.nimmerverse.rows.none_of(name, demanded, concerns) if {
	count(listed) > 0
} else := data.nimmerverse.rows.missing(name, demanded)

proposal := data.nimmerverse.rows.made("proposal", "accepted or exempt", 1, "") if {
	object.get(input, "proposal", null) == "accepted"
} else := data.nimmerverse.rows.made("proposal", "accepted or exempt", 1, "") if {
	data.nimmerverse.exemptions.exempts({
		"exemption": object.get(input, "exemption", null),
		"environment": object.get(input, "environment", null),
		"action": "train",
		"steps": object.get(input, "steps", null),
		"heavy": object.get(input, "heavy", null),
	})
} else := data.nimmerverse.rows.made("proposal", "accepted or exempt", 0, "NOT_EXEMPT") if {
	is_string(object.get(input, "exemption", null))
} else := data.nimmerverse.rows.made("proposal", "accepted or exempt", 0, "NOT_ACCEPTED") if {
	is_string(object.get(input, "proposal", null))
} else := data.nimmerverse.rows.missing("proposal", "accepted or exempt")

origin_of(each) := "weights" if {
	object.get(each, "kind", null) == "weights"
} else := "kind:MISSING" if {
	not is_string(object.get(each, "kind", null))
}

open(each) if {
	is_string(object.get(each, "licence", null))
	each.licence in limits.open_licences
}

approved(each, concern) if {
	is_array(object.get(each, "approved", null))
	concern in each.approved
}

restrictions_of(each) := found if {
	is_array(object.get(each, "restrictions", null))
	found := {concern |
		some name in each.restrictions
		not name in limits.harmless_restrictions
		concern := restriction(name)
	}
} else := {"restriction:MISSING"}

restriction(name) := sprintf("restriction:%s", [name]) if {
	is_string(name)
} else := "restriction:MISSING"

text(each, name) := each[name] if {
	is_string(object.get(each, name, null))
} else := "MISSING"
