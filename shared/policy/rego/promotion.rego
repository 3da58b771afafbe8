# Whether a model may be in force at a target (COL-10, COL-11, ILL-06, ILL-07, ZER-02, ZER-05); docs/policy.md has the table.
# Input:
#   environment, family, target (`staging` or `prod`), high_risk, emergency (bools)
#   power_kw, power_age_s: of the window decision that was asked for this family
#   measured (bool): by a meter, neither declared nor played
#   turbines (bool), nox_mg_h, nox_permit_mg_h: of the same; each absent where it is unknown
#   datasets: [digest], provenance: [{dataset, merkle_valid, anchored}]
#   workers: how many could vote on the run's last checkpoint
#   consensus_ppm, quality_ppm, bias_ppm, hallucination_ppm; suites: [names of the suites that measured it]
#   in_force (bool), in_force_quality_ppm: of the model that is at the target now
#   by_default: [{suite, quality_ppm, default_quality_ppm}]: of the model and of what stands in while nothing is there
#   staged (bool): the model is what is at staging now; asked for prod alone
#   proposal (its state), approvals, signatures: [{role, voter, age_s}], each a `pass` of its own voter
# Values: approval_life_s, ratify_within_s, ratify_signatures, signatures (how many are demanded), waived (names of the rows).
package nimmerverse.promotion

import rego.v1

import data.nimmerverse.limits

# These block whatever anybody says.
thresholds := [
	data.nimmerverse.rows.at_most("power_kw", object.get(input, "power_kw", null), limits.power_kw),
	data.nimmerverse.rows.at_most("power_age_s", object.get(input, "power_age_s", null), limits.power_life_s),
	power_measured,
	nox,
	provenance("merkle_valid"),
	provenance("anchored"),
	data.nimmerverse.rows.share_at_least("consensus", object.get(input, "consensus_ppm", null), limits.consensus_ppm),
	data.nimmerverse.rows.at_least("workers", object.get(input, "workers", null), limits.workers),
	data.nimmerverse.rows.below("bias", object.get(input, "bias_ppm", null), limits.bias_ppm),
	data.nimmerverse.rows.below("hallucination", object.get(input, "hallucination_ppm", null), limits.hallucination_ppm),
	data.nimmerverse.rows.share_at_least("quality", object.get(input, "quality_ppm", null), quality_ppm),
	not_worse,
	suites,
	target,
]

# These may be waived in an emergency, by the two who may, and by nobody else.
words := array.concat([proposal, staged, signatures], approvals)

default emergency := false

emergency if {
	object.get(input, "emergency", null) == true
	overridden("cto") == true
	overridden("safety_lead") == true
	distinct(overriders) == true
}

waived_words := said_so if {
	emergency
	said_so := [data.nimmerverse.rows.waived(row) | some row in words]
} else := words

override := [] if {
	object.get(input, "emergency", null) == false
} else := [
	data.nimmerverse.rows.is_so("override_cto", overridden("cto")),
	data.nimmerverse.rows.is_so("override_safety_lead", overridden("safety_lead")),
	data.nimmerverse.rows.is_so("distinct_override", distinct(overriders)),
] if {
	object.get(input, "emergency", null) == true
} else := [data.nimmerverse.rows.missing("emergency", "true or false")]

rows := array.concat(array.concat(thresholds, waived_words), override)

default allow := false

allow if data.nimmerverse.rows.all_hold(rows)

values := {
	"approval_life_s": limits.approval_life_s,
	"ratify_signatures": limits.signatures_high_risk,
	"ratify_within_s": limits.ratify_within_s,
	"signatures": signatures_wanted,
	"waived": [row.name | some row in words; emergency; row.holds == false],
}

target := data.nimmerverse.rows.made("target", "staging or prod", 1, "") if {
	object.get(input, "target", null) in ["staging", "prod"]
} else := data.nimmerverse.rows.missing("target", "staging or prod")

# What somebody only declared is enough to try a model, and not for what it is tried for.
power_measured := data.nimmerverse.rows.made("power_measured", "prod alone", null, "") if {
	object.get(input, "target", null) == "staging"
} else := data.nimmerverse.rows.is_so("power_measured", object.get(input, "measured", null))

nox := data.nimmerverse.rows.made("nox", "no turbines", null, "") if {
	object.get(input, "turbines", null) == false
} else := data.nimmerverse.rows.at_most("nox", object.get(input, "nox_mg_h", null), input.nox_permit_mg_h) if {
	object.get(input, "turbines", null) == true
	data.nimmerverse.rows.natural(object.get(input, "nox_permit_mg_h", null))
} else := data.nimmerverse.rows.missing("nox", "<= permit") if {
	object.get(input, "turbines", null) == true
} else := data.nimmerverse.rows.missing("nox", "<= permit, or energy_turbines none")

default quality_ppm := 1000000

quality_ppm := object.get(limits.quality_ppm, input.family, limits.quality_of_others_ppm) if {
	is_string(object.get(input, "family", null))
}

not_worse := not_worse_than_default if {
	object.get(input, "in_force", null) == false
	object.get(input, "family", null) in limits.with_default
} else := data.nimmerverse.rows.made("not_worse", "nothing in force", null, "") if {
	object.get(input, "in_force", null) == false
} else := data.nimmerverse.rows.share_at_least("not_worse", object.get(input, "quality_ppm", null), input.in_force_quality_ppm) if {
	object.get(input, "in_force", null) == true
	data.nimmerverse.rows.natural(object.get(input, "in_force_quality_ppm", null))
} else := data.nimmerverse.rows.missing("not_worse", ">= what is in force")

# By every suite that measured the model the default was measured too; the first by which it is worse is told.
not_worse_than_default := data.nimmerverse.rows.missing("not_worse", ">= the default") if {
	not is_array(object.get(input, "by_default", null))
} else := data.nimmerverse.rows.missing("not_worse", ">= the default") if {
	count(input.by_default) == 0
} else := data.nimmerverse.rows.missing("not_worse", ">= the default") if {
	count(beside_default) < count(input.by_default)
} else := data.nimmerverse.rows.share_at_least("not_worse", compared.quality_ppm, compared.default_quality_ppm)

beside_default := [each |
	some each in objects("by_default")
	data.nimmerverse.rows.natural(each.quality_ppm)
	data.nimmerverse.rows.natural(each.default_quality_ppm)
]

behind_default := [each |
	some each in beside_default
	each.quality_ppm < each.default_quality_ppm
]

compared := behind_default[0] if {
	count(behind_default) > 0
} else := beside_default[0]

# The product's own suites of a family, and any where it has none.
suites := data.nimmerverse.rows.missing("suites", "measured") if {
	count(known_suites) == 0
} else := data.nimmerverse.rows.at_least("suites", count(known_suites[0]), limits.suites_of_others) if {
	count(own_suites) == 0
} else := data.nimmerverse.rows.made("suites", concat(", ", own_suites), count(own_measured), "TOO_LOW") if {
	count(own_measured) < count(own_suites)
} else := data.nimmerverse.rows.made("suites", concat(", ", own_suites), count(own_measured), "")

# The names, once, where somebody says what was measured and of which family.
known_suites := [names |
	is_string(object.get(input, "family", null))
	is_array(object.get(input, "suites", null))
	names := {each | some each in input.suites}
]

own_suites := object.get(limits.suites, object.get(input, "family", ""), [])

own_measured := {each |
	some each in own_suites
	each in known_suites[0]
}

# Every dataset of the model has to be verified, and there has to be one.
provenance(what) := data.nimmerverse.rows.missing(what, "every dataset") if {
	not is_array(object.get(input, "datasets", null))
} else := data.nimmerverse.rows.missing(what, "every dataset") if {
	count(input.datasets) == 0
} else := data.nimmerverse.rows.missing(what, sprintf("%d of %d", [count(input.datasets), count(input.datasets)])) if {
	count([each | some each in input.datasets; not said(each, what)]) > 0
} else := data.nimmerverse.rows.made(what, sprintf("%d of %d", [count(input.datasets), count(input.datasets)]), proved(what), "NOT_SO") if {
	proved(what) < count(input.datasets)
} else := data.nimmerverse.rows.made(what, sprintf("%d of %d", [count(input.datasets), count(input.datasets)]), proved(what), "")

said(dataset, what) if {
	some each in objects("provenance")
	each.dataset == dataset
	is_boolean(each[what])
}

# What was once found not to hold, does not hold, whatever else was said.
proved(what) := count([dataset |
	some dataset in input.datasets
	said(dataset, what)
	not refuted(dataset, what)
])

refuted(dataset, what) if {
	some each in objects("provenance")
	each.dataset == dataset
	each[what] != true
}

# The objects of a list; what is none says nothing.
objects(name) := found if {
	listed := object.get(input, name, null)
	is_array(listed)
	found := [each | some each in listed; is_object(each)]
} else := []

proposal := data.nimmerverse.rows.equal("proposal", object.get(input, "proposal", null), "accepted")

# What goes to prod stands at staging first (ILL-07).
staged := data.nimmerverse.rows.made("staged", "prod alone", null, "") if {
	object.get(input, "target", null) == "staging"
} else := data.nimmerverse.rows.is_so("staged", object.get(input, "staged", null))

signatures_wanted := limits.signatures if {
	object.get(input, "high_risk", null) == false
} else := limits.signatures_high_risk

signatures := data.nimmerverse.rows.missing("signatures", sprintf(">= %d", [signatures_wanted])) if {
	not is_array(object.get(input, "signatures", null))
} else := data.nimmerverse.rows.at_least("signatures", count(signers), signatures_wanted)

signers := {each.voter |
	some each in objects("signatures")
	is_string(each.voter)
	fresh(each)
}

approvals := [] if {
	object.get(input, "target", null) == "staging"
} else := array.concat(approvals_of_leads, [data.nimmerverse.rows.is_so("distinct_leads", distinct(leads))])

approvals_of_leads := [data.nimmerverse.rows.is_so(role, given(role)) | some role in lead_roles]

lead_roles := ["release_manager", "safety_lead", "infrastructure_lead"]

override_roles := ["cto", "safety_lead"]

# Who speaks, and as what; a word that is nobody's is none.
leads := {[each.role, each.voter] |
	some each in objects("approvals")
	each.role in lead_roles
	is_string(each.voter)
	fresh(each)
}

# A word that overrides is one of these days, not an approval of last week.
overriders := {[each.role, each.voter] |
	some each in objects("approvals")
	each.role in override_roles
	is_string(each.voter)
	fresh(each)
	each.age_s <= limits.ratify_within_s
}

given(role) if {
	some word in leads
	word[0] == role
} else := null

overridden(role) if {
	some word in overriders
	word[0] == role
} else := null

# Nobody speaks in two roles at once: any roles in which somebody speaks are spoken for by as many people.
distinct(words_said) := count(crowds(words_said)) == 0

crowds(words_said) := {roles |
	spoken := {word[0] | some word in words_said}
	some a in spoken
	some b in spoken
	some c in spoken
	roles := {a, b, c}
	count(people(words_said, roles)) < count(roles)
}

people(words_said, roles) := {word[1] |
	some word in words_said
	word[0] in roles
}

fresh(each) if {
	data.nimmerverse.rows.natural(each.age_s)
	each.age_s <= limits.approval_life_s
}
