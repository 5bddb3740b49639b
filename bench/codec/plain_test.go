package codec

// Plain structs with the JSON form of the benchmark's messages, for a JSON library that knows
// nothing of protobuf. Enums and timestamps are strings, so that it is spared what a protobuf codec
// has to do for them.

type plainSmall struct {
	Name        string `json:"name,omitempty"`
	DisplayName string `json:"displayName,omitempty"`
	Revision    int64  `json:"revision,omitempty,string"`
	State       string `json:"state,omitempty"`
	CreateTime  string `json:"createTime,omitempty"`
}

type plainList struct {
	Items         []*plainItem `json:"items,omitempty"`
	NextPageToken string       `json:"nextPageToken,omitempty"`
	TotalSize     int32        `json:"totalSize,omitempty"`
}

type plainItem struct {
	Name       string      `json:"name,omitempty"`
	Title      string      `json:"title,omitempty"`
	ID         int64       `json:"id,omitempty,string"`
	Rank       int32       `json:"rank,omitempty"`
	Price      float64     `json:"price,omitempty"`
	InStock    bool        `json:"inStock,omitempty"`
	State      string      `json:"state,omitempty"`
	CreateTime string      `json:"createTime,omitempty"`
	UpdateTime string      `json:"updateTime,omitempty"`
	Tags       []string    `json:"tags,omitempty"`
	Owner      *plainOwner `json:"owner,omitempty"`
}

type plainOwner struct {
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
}

type plainStrings struct {
	Lines  []string          `json:"lines,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
}

// A JSON library has no option to quote the numbers in a list, so that these 64-bit numbers are
// strings. It is spared their conversion.
type plainNumbers struct {
	IDs     []string  `json:"ids,omitempty"`
	Counts  []int32   `json:"counts,omitempty"`
	Samples []float64 `json:"samples,omitempty"`
	Marks   []string  `json:"marks,omitempty"`
}
