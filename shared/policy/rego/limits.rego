# Every threshold of every policy, once; docs/policy.md explains them. Shares are millionths, power is kilowatts.
package nimmerverse.limits

import rego.v1

# COL-12
toxicity_ppm := 300000

# COL-06, COL-10
power_kw := 250000

soc_low_ppm := 400000

soc_full_ppm := 800000

# COL-07: a job beyond either is heavy, whatever else it says
light_steps := 2000

light_workers := 4

# COL-10, COL-12
bias_ppm := 250000

hallucination_ppm := 150000

consensus_ppm := 990000

# COL-09: a single worker agrees with itself
workers := 2

# COL-12: a run pauses from here on
pause_hallucination_ppm := 225000

pause_consensus_ppm := 900000

# ILL-07
signatures := 1

signatures_high_risk := 3

approval_life_s := 1209600

ratify_within_s := 172800

# COL-16: evidence about power is taken anew for a promotion
power_life_s := 900

# What a model of a family has to reach at least, whatever is in force
quality_ppm := {"boundary": 900000, "toxicity": 800000}

quality_of_others_ppm := 800000

# COL-02: families in which something stands in where no model is in force; until one is, a model is held against that
with_default := ["toxicity"]

# ILL-06: the product's own suites, by which a model of a family is measured whatever else it is measured by
suites := {"boundary": ["reflexes 1"], "toxicity": ["frames 1"]}

suites_of_others := 1

# ILL-03: licences under which anybody may train; every other needs an approval by name
open_licences := [
	"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0", "ISC",
	"MIT", "MIT-0", "PSF-2.0", "Python-2.0", "Unlicense", "LicenseRef-own",
]

# ILL-03: restrictions that do not touch training
harmless_restrictions := ["attribution", "share-alike"]
