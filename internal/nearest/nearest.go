package nearest

import "strings"

// distance returns how many characters have to be changed, added, taken out or swapped
// with their neighbour to make b of a; capitals do not count.
func distance(a, b string) int {
	x, y := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	rows := [3][]int{make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(x); i++ {
		before, last, this := rows[0], rows[1], rows[2]
		this[0] = i
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			this[j] = min(last[j]+1, this[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				this[j] = min(this[j], before[j-2]+1)
			}
		}
		rows[0], rows[1], rows[2] = last, this, before
	}
	return rows[1][len(y)]
}

// maxWord bounds the words that are compared: longer ones are no typing mistakes.
const maxWord = 64

// Word returns the name that word was most likely meant to be, or "" when none is near: a
// third of its characters may be wrong, and three at most.
func Word(word string, names []string) string {
	if len(word) > maxWord {
		return ""
	}
	best, found := min(max(len(word)/3, 1), 3)+1, ""
	for _, n := range names {
		if d := distance(word, n); d < best {
			best, found = d, n
		}
	}
	return found
}
