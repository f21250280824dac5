// BullMQ behind Node's own HTTP server. `node bullmq_app.cjs api PORT`, `node bullmq_app.cjs worker`.
const http = require('node:http')
const { Job, Queue, Worker } = require('bullmq')

const connection = { host: '127.0.0.1', port: Number(process.env.REDIS_PORT) }
const [role, port] = process.argv.slice(2)

if (role === 'worker') {
  const concurrency = Number(process.env.CONCURRENCY ?? 64)
  new Worker('bench', async (job) => ({ echo: job.data.key }), { connection, concurrency })
} else {
  const queue = new Queue('bench', { connection })
  const answer = (response, body) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(body))
  }
  const server = http.createServer((request, response) => {
    if (request.method === 'POST') {
      let body = ''
      request.on('data', (piece) => { body += piece })
      request.on('end', async () => answer(response, { id: (await queue.add('work', JSON.parse(body))).id }))
      return
    }
    const id = request.url.slice(1)
    Job.fromId(queue, id).then((job) => {
      if (!job?.finishedOn) return answer(response, { id, status: 'in_queue' })
      return answer(response, { id, status: 'completed', result: job.returnvalue })
    })
  })
  server.listen(Number(port), '127.0.0.1')
}
