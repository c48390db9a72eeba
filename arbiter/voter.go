package arbiter

import (
	"maps"
	"time"
)

// Voter is a mesh witness's part: it holds nothing, gives promises, and remembers the
// highest token of each claim, so that a node which was away learns of it.
type Voter struct {
	name     string
	promises *Promises
	tokens   map[string]Token
}

// NewVoter returns a voter of that name which remembers tokens, and has promised nothing
// since it was started: see NewPromises.
func NewVoter(name string, wait time.Duration, started time.Time, tokens map[string]Token) *Voter {
	v := &Voter{name: name, promises: NewPromises(wait, started), tokens: map[string]Token{}}
	maps.Copy(v.tokens, tokens)
	return v
}

// Answer replies to a node's question. A token that is not 0 has to be made durable
// before the answer is sent.
func (v *Voter) Answer(now time.Time, r Request) (a Answer, store Token) {
	a = Answer{ID: r.ID, From: v.name, To: r.From, Claim: r.Claim}
	known := v.tokens[r.Claim]
	switch r.Kind {
	case RequestPromise:
		a.Why = v.promises.Grant(now, r)
		a.Yes = a.Why == ""
	case RequestReleased:
		v.promises.Release(r)
		a.Yes = true
	case RequestHolds, RequestHandover:
		a.Why = "a witness holds nothing"
	default:
		a.Why = "this version does not know the request"
	}
	if a.Yes && r.Token > known {
		v.tokens[r.Claim], store = r.Token, r.Token
	}
	a.Token = known // not the one just bid: the asker must see others' alone
	return a, store
}

// Hear takes in the tokens of a report, and returns those that are news and have to be
// made durable.
func (v *Voter) Hear(r Report) map[string]Token {
	var news map[string]Token
	for _, c := range r.Claims {
		if c.Token > v.tokens[c.Claim] {
			v.tokens[c.Claim] = c.Token
			if news == nil {
				news = map[string]Token{}
			}
			news[c.Claim] = c.Token
		}
	}
	return news
}
