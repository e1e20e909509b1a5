// A run task service that parses the body, serialises it again, and verifies that:
// what several Node services do (`JSON.stringify(parsedBody)`).
// Usage: node reserialises.mjs PORT KEY ACCOUNT-FILE
import { createHmac, timingSafeEqual } from "node:crypto";
import { appendFileSync } from "node:fs";
import { createServer } from "node:http";

const [port, key, account] = process.argv.slice(2);
const say = (word) => appendFileSync(account, JSON.stringify(word) + "\n");

function genuine(body, signature) {
  const wanted = createHmac("sha512", key).update(JSON.stringify(body)).digest("hex");
  const given = Buffer.from(signature ?? "");
  return given.length === wanted.length && timingSafeEqual(given, Buffer.from(wanted));
}

async function review(body) {
  const authorization = `Bearer ${body.access_token}`;
  const plan = await fetch(body.plan_json_api_url, { headers: { authorization } });
  const changes = (await plan.json()).resource_changes.length;
  for (const status of ["running", "passed"]) {
    const answer = await fetch(body.task_result_callback_url, {
      method: "PATCH",
      headers: { authorization, "content-type": "application/vnd.api+json" },
      body: JSON.stringify({
        data: {
          type: "task-results",
          attributes: { status, message: `${changes} changes looked at`, url: "https://example.com/1" },
        },
      }),
    });
    const document = await answer.json();
    say({ called: status, http: answer.status, answered: document.data.attributes.status });
  }
}

createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", async () => {
    const body = JSON.parse(Buffer.concat(parts));
    if (!genuine(body, request.headers["x-tfc-task-signature"])) {
      say({ refused: body.task_result_id });
      response.writeHead(401).end();
      return;
    }
    say({ taken: body.task_result_id, stage: body.stage, run_message: body.run_message });
    response.writeHead(200).end();
    if (body.access_token !== "test-token") {
      await review(body).catch((error) => say({ error: String(error) }));
    }
  });
}).listen(Number(port), "127.0.0.1", () => say({ listening: port }));
