-- Makes the world of one run. Given once: what every script finds (`base`), Lua's own libraries and
-- ours (`libraries`), what `redis` has beside its commands (`common`), where a script stands, and
-- what an error that is no text and no table says.
local base, libraries, common, line_of_script, text_of = ...
local error, tostring, type, xpcall, setmetatable = error, tostring, type, xpcall, setmetatable
local pcall = pcall

local function frozen()
    error("Attempt to modify a readonly table", 2)
end

-- As in Redis 7, what `redis.call` has raised is a text for those who catch it.
local function caught(good, problem, ...)
    if not good and type(problem) == "table" and problem.err ~= nil then
        problem = problem.err
    elseif not good and type(problem) == "userdata" then
        problem = text_of(problem)
    end
    return good, problem, ...
end

function base.pcall(...)
    return caught(pcall(...))
end

local absent = {
    __index = function(_, name)
        error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
    end,
}
setmetatable(base, absent)

-- A table that shows another one and cannot be written to; what is forced into it goes with the run.
local function shown(of)
    return setmetatable({}, { __index = of, __newindex = frozen, __metatable = false })
end

local function explained(problem)
    if type(problem) == "userdata" then
        local text, whole = text_of(problem)
        problem = { err = whole and text or "ERR " .. text }
    elseif type(problem) ~= "table" then
        problem = { err = "ERR " .. tostring(problem) }
    end
    if problem.line == nil then
        problem.line = line_of_script()
    end
    return problem
end

return function(script, setfenv, compile, call, pcalled, log, setresp, may, keys, arguments)
    local own = { call = call, pcall = pcalled, log = log, setresp = setresp, acl_check_cmd = may }
    local redis = setmetatable(own, { __index = common })
    local world = { KEYS = keys, ARGV = arguments, redis = shown(redis) }
    world.server = world.redis
    for name, library in next, libraries do
        world[name] = shown(library)
    end
    world._G = world
    function world.loadstring(text, name)
        local chunk, problem = compile(text, name)
        if chunk then
            setfenv(chunk, world)
        end
        return chunk, problem
    end
    setmetatable(world, { __index = base, __newindex = frozen, __metatable = false })
    setfenv(script, world)
    return xpcall(script, explained)
end
