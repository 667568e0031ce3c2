package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"

	"github.com/seed-49de4af9/ringmaster/actors"
	"github.com/seed-49de4af9/ringmaster/messages"
)

const (
	serviceName     = "ringmaster.ActorService"
	invokeProcedure = "/" + serviceName + "/Invoke"
	// rpcOverheadBytes is what a request may hold besides its payload.
	rpcOverheadBytes = 16 << 10
)

func (s *Server) rpcOptions() []connect.HandlerOption {
	return []connect.HandlerOption{
		connect.WithReadMaxBytes(s.cfg.Limits.BodyBytes + rpcOverheadBytes),
		connect.WithRecover(func(_ context.Context, spec connect.Spec, _ http.Header, cause any) error {
			s.logger.Error("request failed by a panic", "path", spec.Procedure, "cause", cause)
			return connect.NewError(connect.CodeInternal, errors.New("this node failed while it handled the request; its log has the details"))
		}),
	}
}

// invokeHandler serves ringmaster.ActorService.Invoke.
func (s *Server) invokeHandler(options []connect.HandlerOption) http.Handler {
	return connect.NewUnaryHandler(invokeProcedure, s.invoke, options...)
}

func (s *Server) invoke(ctx context.Context, req *connect.Request[messages.InvokeRequest]) (*connect.Response[messages.InvokeResponse], error) {
	in := req.Msg
	m, u := s.methods.find(in.GetKind(), in.GetMethod())
	if u != nil {
		return nil, rpcError(&messages.Reply{Code: messages.Code_CODE_NOT_FOUND, Message: u.message})
	}
	if err := actors.ValidateKey(in.GetKey()); err != nil {
		return nil, rpcError(actors.ToReply(err))
	}
	call := &messages.Call{
		Kind: in.GetKind(), Key: in.GetKey(), Method: in.GetMethod(), Payload: in.GetPayload(),
		Query: m.Query, TimeoutMs: s.timeoutMillis(s.cfg.Limits.CallTimeout),
	}
	if deadline, ok := ctx.Deadline(); ok {
		call.TimeoutMs = s.timeoutMillis(time.Until(deadline))
	}
	if err := s.number(call, in); err != nil {
		return nil, err
	}
	reply := s.call(ctx, m, call)
	if reply.GetCode() != messages.Code_CODE_OK {
		return nil, rpcError(reply)
	}
	return connect.NewResponse(&messages.InvokeResponse{
		Payload: reply.GetPayload(), Partition: reply.GetPartition(), Term: reply.GetTerm(), Index: reply.GetIndex(),
		Node: s.nodeName(reply.GetMasterNode()), Replayed: reply.GetReplayed(),
	}), nil
}

// number gives a command the number that its caller chose, if any.
func (s *Server) number(call *messages.Call, in *messages.InvokeRequest) error {
	switch key, session := in.GetIdempotencyKey(), in.GetSession(); {
	case call.GetQuery():
	case key != "" && len(session) > 0:
		return connect.NewError(connect.CodeInvalidArgument, errors.New("idempotency_key and session both name the request; give one of them"))
	case key != "":
		if p := s.setIdempotencyKey(call, key); p != nil {
			return connect.NewError(connect.CodeInvalidArgument, errors.New(p.Message))
		}
	case len(session) > 0:
		id := &messages.RequestID{Client: session, Sequence: in.GetSequence(), LowWater: in.GetLowWater()}
		if err := checkNumber(id, false); err != nil {
			return connect.NewError(connect.CodeInvalidArgument, err)
		}
		call.Request = id
	}
	return nil
}

// sessionIDBytes is the length of every client id.
const sessionIDBytes = 16

// checkNumber says what is wrong with a number that a client chose; byKey, with
// one that is the digest of an idempotency key.
func checkNumber(id *messages.RequestID, byKey bool) error {
	switch {
	case len(id.GetClient()) != sessionIDBytes:
		return fmt.Errorf("the session has %d bytes; draw %d random ones for each client", len(id.GetClient()), sessionIDBytes)
	case byKey && (id.GetSequence() != 0 || id.GetLowWater() != 0):
		return errors.New("an idempotency key needs no sequence and no low_water")
	case byKey:
	case id.GetSequence() == 0:
		return errors.New("the sequence is 0; number the requests of a session and partition 1, 2, 3 and so on")
	case id.GetLowWater() > id.GetSequence():
		return fmt.Errorf("low_water %d is above the request's own number %d", id.GetLowWater(), id.GetSequence())
	}
	return nil
}

// rpcError is a reply as an error of connect and gRPC. The reply goes along as
// detail.
func rpcError(r *messages.Reply) error {
	e := connect.NewError(rpcCode(r.GetCode()), errors.New(errorOf(r).Error()))
	if detail, err := connect.NewErrorDetail(&messages.Reply{
		Code: r.GetCode(), Rejection: r.GetRejection(), Message: r.GetMessage(), Partition: r.GetPartition(), Term: r.GetTerm(),
		MasterNode: r.GetMasterNode(), RetryAfterMs: r.GetRetryAfterMs(), Missing: r.GetMissing(), Replayed: r.GetReplayed(),
	}); err == nil {
		e.AddDetail(detail)
	}
	return e
}

func rpcCode(code messages.Code) connect.Code {
	switch code {
	case messages.Code_CODE_REJECTED:
		return connect.CodeFailedPrecondition
	case messages.Code_CODE_UNAVAILABLE, messages.Code_CODE_NOT_MASTER:
		return connect.CodeUnavailable
	case messages.Code_CODE_OVERLOADED:
		return connect.CodeResourceExhausted
	case messages.Code_CODE_OUTCOME_UNKNOWN:
		return connect.CodeDeadlineExceeded
	case messages.Code_CODE_INVALID:
		return connect.CodeInvalidArgument
	case messages.Code_CODE_NOT_FOUND:
		return connect.CodeNotFound
	case messages.Code_CODE_CONFLICT:
		return connect.CodeAlreadyExists
	case messages.Code_CODE_SESSION_EXPIRED:
		return connect.CodeAborted
	case messages.Code_CODE_OK, messages.Code_CODE_FAILED, messages.Code_CODE_UNSPECIFIED:
	}
	return connect.CodeInternal
}

// checker answers gRPC's health checks as /readyz does.
type checker struct{ server *Server }

// Check implements grpchealth.Checker.
func (c checker) Check(ctx context.Context, req *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	if req.Service != "" && req.Service != serviceName {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no service %.80q; there is %s", req.Service, serviceName))
	}
	status, err := c.server.status(ctx)
	if err != nil || !status.Ready {
		return &grpchealth.CheckResponse{Status: grpchealth.StatusNotServing}, nil
	}
	return &grpchealth.CheckResponse{Status: grpchealth.StatusServing}, nil
}
