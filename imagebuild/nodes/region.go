package nodes

import (
	_ "embed"
	"regexp"
	"strings"

	"github.com/piimg/piimg/imagebuild/nodes/strictyaml"
)

// zoneNames lists the names of the tz database, 2025b, one a line: its zones
// and its links, without Factory. The list is ours, and not that of the machine
// piimg runs on, so that the same file is judged alike everywhere.
//
//	awk '$1=="Z"{print $2} $1=="L"{print $3}' tzdata.zi | LC_ALL=C sort -u
//
//go:embed timezones.txt
var zoneNames string

// countries are the codes of ISO 3166-1 alpha-2.
const countries = `AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ
BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM
DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS
GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN
KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ
MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM
PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV
SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI
VN VU WF WS YE YT ZA ZM ZW`

const (
	localePattern = `^(C|[a-z]{2,3}_[A-Z]{2})\.UTF-8(@[a-z]+)?$`
	keymapPattern = `^[a-z][a-z0-9_-]{1,31}$`
)

var (
	localeRE    = regexp.MustCompile(localePattern)
	keymapRE    = regexp.MustCompile(keymapPattern)
	looseLocale = regexp.MustCompile(`^([A-Za-z]{2,3})[_-]([A-Za-z]{2})(?:\.[A-Za-z0-9-]+)?(@[a-z]+)?$`)
)

func (c *checker) timezone(v text) string {
	names := strings.Fields(zoneNames)
	if containsWord(zoneNames, v.V) {
		return v.V
	}
	hint := "use a name such as Europe/Berlin; timedatectl list-timezones lists them"
	if n := nearestZone(v.V, names); n != "" {
		hint = "did you mean " + n + "?"
	}
	c.fail(at(v), hint, "%q is not a time zone of the tz database", v.V)
	return ""
}

// nearestZone also finds a zone by its city alone.
func nearestZone(s string, names []string) string {
	if n := strictyaml.Nearest(s, names); n != "" {
		return n
	}
	for _, n := range names {
		if strings.EqualFold(n[strings.LastIndexByte(n, '/')+1:], strings.ReplaceAll(s, " ", "_")) {
			return n
		}
	}
	return ""
}

func (c *checker) locale(v text) string {
	if localeRE.MatchString(v.V) {
		return v.V
	}
	hint := "use a form such as en_GB.UTF-8"
	if m := looseLocale.FindStringSubmatch(v.V); m != nil {
		hint = "write " + strings.ToLower(m[1]) + "_" + strings.ToUpper(m[2]) + ".UTF-8" + m[3]
	}
	c.fail(at(v), hint, "%q is not a locale that an image can have", v.V)
	return ""
}

// languages are codes that people give for a keyboard, and the layouts they mean.
const languages = ` uk=gb en=gb sv=se da=dk cs=cz el=gr ko=kr ja=jp zh=cn he=il fa=ir sl=si sr=rs `

func (c *checker) keymap(v text) string {
	for pair := range strings.FieldsSeq(languages) {
		if wrong, right, _ := strings.Cut(pair, "="); strings.EqualFold(v.V, wrong) {
			if wrong == "en" {
				right = "gb or us"
			}
			c.fail(at(v), "write "+right, "%q is not a keyboard layout", v.V)
			return ""
		}
	}
	if keymapRE.MatchString(v.V) {
		return v.V
	}
	hint := "use the name of one XKB layout, such as gb, us or de"
	if l := strings.ToLower(v.V); keymapRE.MatchString(l) {
		hint = "write " + l
	}
	c.fail(at(v), hint, "%q is not a keyboard layout", v.V)
	return ""
}

func (c *checker) country(v text) string {
	upper := strings.ToUpper(v.V)
	switch {
	case containsWord(countries, v.V):
		return v.V
	case upper == "UK" || upper == "EN":
		c.fail(at(v), "write GB", "%q is not the ISO 3166 code of a country", v.V)
	case containsWord(countries, upper):
		c.fail(at(v), "write "+upper, "the country code %q must be in capital letters", v.V)
	default:
		c.fail(at(v), "use two letters, such as DE, GB or US", "%q is not the ISO 3166 code of a country", v.V)
	}
	return ""
}
