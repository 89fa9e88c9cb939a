// The add service over the transports of go-kit 0.10: `go-kit serve` prints the addresses for HTTP with JSON-RPC and for gRPC,
// `go-kit call HTTP GRPC` calls those of another server.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"

	"github.com/go-kit/kit/endpoint"
	kitgrpc "github.com/go-kit/kit/transport/grpc"
	kithttp "github.com/go-kit/kit/transport/http"
	"github.com/go-kit/kit/transport/http/jsonrpc"
	"google.golang.org/grpc"
)

// The messages of `examples/addsvc/proto/addsvc.proto`, by hand: the tags are all that the encoder needs.
type SumRequest struct {
	A int64 `protobuf:"varint,1,opt,name=a,proto3" json:"a"`
	B int64 `protobuf:"varint,2,opt,name=b,proto3" json:"b"`
}

type SumReply struct {
	V   int64  `protobuf:"varint,1,opt,name=v,proto3" json:"v"`
	Err string `protobuf:"bytes,2,opt,name=err,proto3" json:"-"`
}

func (m *SumRequest) Reset()         { *m = SumRequest{} }
func (m *SumRequest) String() string { return "" }
func (*SumRequest) ProtoMessage()    {}
func (m *SumReply) Reset()           { *m = SumReply{} }
func (m *SumReply) String() string   { return "" }
func (*SumReply) ProtoMessage()      {}

func sum(_ context.Context, request interface{}) (interface{}, error) {
	r := request.(*SumRequest)
	if r.A == 0 && r.B == 0 {
		return nil, errors.New("can't sum two zeroes")
	}
	return &SumReply{V: r.A + r.B}, nil
}

func same(_ context.Context, message interface{}) (interface{}, error) { return message, nil }

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	return listener
}

func serve() {
	decode := func(_ context.Context, r *http.Request) (interface{}, error) {
		request := &SumRequest{}
		return request, json.NewDecoder(r.Body).Decode(request)
	}
	// As go-kit's addsvc encodes them.
	failed := kithttp.ServerErrorEncoder(func(_ context.Context, err error, w http.ResponseWriter) {
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
	})
	http.Handle("/sum", kithttp.NewServer(sum, decode, kithttp.EncodeJSONResponse, failed))
	http.Handle("/rpc", jsonrpc.NewServer(jsonrpc.EndpointCodecMap{"sum": jsonrpc.EndpointCodec{
		Endpoint: sum,
		Decode: func(_ context.Context, params json.RawMessage) (interface{}, error) {
			request := &SumRequest{}
			return request, json.Unmarshal(params, request)
		},
		Encode: func(_ context.Context, reply interface{}) (json.RawMessage, error) { return json.Marshal(reply) },
	}}))
	plain, rpc := listen(), listen()
	go http.Serve(plain, nil)

	// go-kit sends an error of the business in the reply.
	inReply := func(ctx context.Context, request interface{}) (interface{}, error) {
		if reply, err := sum(ctx, request); err == nil {
			return reply, nil
		} else {
			return &SumReply{Err: err.Error()}, nil
		}
	}
	handler := kitgrpc.NewServer(inReply, same, same)
	method := func(_ interface{}, ctx context.Context, decode func(interface{}) error, _ grpc.UnaryServerInterceptor) (interface{}, error) {
		request := &SumRequest{}
		check(decode(request))
		_, reply, err := handler.ServeGRPC(ctx, request)
		return reply, err
	}
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "pb.Add",
		HandlerType: (*interface{})(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Sum", Handler: method}},
	}, struct{}{})
	fmt.Println(plain.Addr(), rpc.Addr())
	check(server.Serve(rpc))
}

func call(plain, rpc string) {
	at := func(path string) *url.URL { return &url.URL{Scheme: "http", Host: plain, Path: path} }
	decode := func(_ context.Context, r *http.Response) (interface{}, error) {
		if reply := (&SumReply{}); r.StatusCode == http.StatusOK {
			return reply, json.NewDecoder(r.Body).Decode(reply)
		}
		return nil, errors.New(r.Status)
	}
	result := func(_ context.Context, response jsonrpc.Response) (interface{}, error) {
		if response.Error != nil {
			return nil, *response.Error
		}
		reply := &SumReply{}
		return reply, json.Unmarshal(response.Result, reply)
	}
	fixed := jsonrpc.SetClient(&http.Client{Transport: versioned{}})
	connection, err := grpc.Dial(rpc, grpc.WithInsecure())
	check(err)
	for _, transport := range []struct {
		name string
		sum  endpoint.Endpoint
	}{
		{"HTTP", kithttp.NewClient("POST", at("/sum"), kithttp.EncodeJSONRequest, decode).Endpoint()},
		{"JSON-RPC", jsonrpc.NewClient(at("/rpc"), "sum", jsonrpc.ClientResponseDecoder(result), fixed).Endpoint()},
		{"gRPC", kitgrpc.NewClient(connection, "pb.Add", "Sum", same, same, SumReply{}).Endpoint()},
	} {
		reply, err := transport.sum(context.Background(), &SumRequest{A: 1, B: 2})
		check(err)
		_, err = transport.sum(context.Background(), &SumRequest{})
		fmt.Printf("%s: %d, %v\n", transport.name, reply.(*SumReply).V, err)
	}
	os.Exit(0)
}

func main() {
	if len(os.Args) == 4 {
		call(os.Args[2], os.Args[3])
	}
	serve()
}
