package strictyaml

import "strings"

// Nearest returns the candidate that word was probably meant to be, or "" if
// none is near: one that differs by case and separators only, or by a typing
// error for about every three letters.
func Nearest(word string, candidates []string) string {
	w := plain(word)
	best, limit := "", max(1, len([]rune(w))/3)
	for _, c := range candidates {
		d := distance(w, plain(c))
		if d == 0 {
			return c
		}
		if d < limit || d == limit && best == "" {
			best, limit = c, d
		}
	}
	return best
}

func plain(s string) string {
	return strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(s))
}

// distance is the number of letters that must be inserted, deleted, replaced or
// swapped with their neighbour to make b of a. Words longer than 64 letters are
// taken as wholly different.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	if len(s) > 64 || len(t) > 64 {
		return max(len(s), len(t))
	}
	prev2, prev, cur := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(s); i++ {
		cur[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(t)]
}
