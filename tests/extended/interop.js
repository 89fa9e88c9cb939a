// The add service over grpc-js: `interop.js serve PROTO` prints its address, `interop.js call PROTO ADDRESS` calls another server.
const grpc = require('@grpc/grpc-js');
const { loadSync } = require('@grpc/proto-loader');

const [, , action, proto, address] = process.argv;
const { Add } = grpc.loadPackageDefinition(loadSync(proto, { longs: Number, defaults: true })).pb;

function sum({ request: { a, b } }, respond) {
  if (a === 0 && b === 0) {
    respond({ code: grpc.status.INVALID_ARGUMENT, details: "can't sum two zeroes" });
  } else {
    respond(null, { v: a + b });
  }
}

function serve() {
  const server = new grpc.Server();
  server.addService(Add.service, { Sum: sum, Concat: (call, respond) => respond(null, { v: call.request.a + call.request.b }) });
  server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) throw error;
    console.log(`127.0.0.1:${port}`);
  });
}

async function call() {
  const client = new Add(address, grpc.credentials.createInsecure());
  const invoke = (method, request, deadline) =>
    new Promise((resolve) =>
      client[method](request, { deadline: deadline ?? Date.now() + 30000 }, (error, reply) =>
        resolve(error ? `${error.code} ${error.details}` : reply.v)));
  console.log(await invoke('Sum', { a: 1, b: 2 }));
  console.log(await invoke('Concat', { a: '1', b: '2' }));
  console.log(await invoke('Sum', { a: 0, b: 0 }));
  // The client itself ends a call after its deadline.
  console.log(await invoke('Sum', { a: 1, b: 2 }, Date.now() - 1).then((result) => `${result}`.split(' ')[0]));
  client.close();
}

action === 'serve' ? serve() : call();
